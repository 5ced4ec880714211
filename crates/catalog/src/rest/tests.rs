use super::*;

#[test]
fn what_could_mean_something_in_a_path_is_escaped() {
    assert_eq!(escaped("a/b?c=1&d #%\u{1f}é"), "a%2Fb%3Fc%3D1%26d%20%23%25%1F%C3%A9");
    assert_eq!(escaped("Az09-_.~"), "Az09-_.~");
}

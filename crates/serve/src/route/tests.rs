use super::*;

fn route(path: &str) -> ScoreRoute {
    let table = TableName::parse("ml_predictions.churn_scores").unwrap();
    let mut route = ScoreRoute::new("churn", path, table);
    route.key_template = Some("churn:{user_token}".to_owned());
    route
}

#[test]
fn a_path_finds_its_route_and_its_key() {
    let mut other = route("/users/{user_token}/churn");
    other.scoring = "other".to_owned();
    let routes = Routes::try_new(vec![route("/churn-score/{user_token}"), other]).unwrap();
    let find = |path| {
        routes.find(path).map(|(route, key)| (route.declared.scoring.clone(), key.to_owned()))
    };
    let found = |scoring: &str, key: &str| Some((scoring.to_owned(), key.to_owned()));
    assert_eq!(find("/churn-score/u42"), found("churn", "u42"));
    assert_eq!(find("/users/u42/churn"), found("other", "u42"));
    assert_eq!(find("/v1/scores/churn/u%2042"), found("churn", "u%2042"));
    assert_eq!(find("/v1/scores/other/u42"), found("other", "u42"));
    let unknown = [
        "/",
        "/churn-score/",
        "/churn-score/a/b",
        "/churn-score",
        "/users/churn",
        "/v1/scores/none/u",
    ];
    for path in unknown {
        assert_eq!(find(path), None, "{path}");
    }
}

#[test]
fn a_key_in_the_cache_is_filled_in() {
    for template in ["churn:{user_token}", "churn:{user_id}"] {
        let mut declared = route("/churn-score/{user_token}");
        declared.entity_column = "user_id".to_owned();
        declared.key_template = Some(template.to_owned());
        let route = Route::try_new(declared, 0).unwrap();
        assert_eq!(route.cache_key("u{}42").unwrap(), "churn:u{}42");
    }
}

#[test]
fn routes_that_cannot_be_meant_are_refused() {
    let bad = [
        "",
        "/",
        "churn/{u}",
        "/churn",
        "/churn/{}",
        "/churn/{a}/{b}",
        "/churn/x{u}",
        "/churn/{u}x",
        "/churn/{u",
        "/churn/{{u}}",
        "/chu rn/{u}",
        "/churn?x={u}",
        "/v1/{u}",
        "/metrics/{u}",
        "/push/{u}",
        "/materialize/{u}",
        "/get-online-features/{u}/x",
        "/invocations/{u}",
        "/health/{u}",
        "/{u}",
        "/churn/{source}",
        "/churn/{prediction}",
    ];
    for path in bad {
        let declared = ScoreRoute::new("churn", path, route(path).table);
        let error = Routes::try_new(vec![declared]).unwrap_err();
        assert_eq!(error.kind(), icecore_core::ErrorKind::InvalidInput, "{path}");
    }
    let changes: [fn(&mut ScoreRoute); 5] = [
        |route| route.key_template = Some("churn".to_owned()),
        |route| route.key_template = Some("churn:{user_tokn}".to_owned()),
        |route| route.prediction_column = "reason".to_owned(),
        |route| route.scoring = "a/b".to_owned(),
        |route| route.default = f64::NAN,
    ];
    for change in changes {
        let mut declared = route("/churn-score/{user_token}");
        change(&mut declared);
        Routes::try_new(vec![declared.clone()]).expect_err(&format!("{declared:?}"));
    }
    let twins = vec![route("/churn-score/{user_token}"), route("/other/{user_token}")];
    assert!(Routes::try_new(twins).is_err(), "two routes of one scoring job");
}

#[test]
fn a_key_is_decoded() {
    let cases =
        [("u42", "u42"), ("a%20b+c", "a b+c"), ("gr%C3%b6%C3%9fe", "größe"), ("a%2Fb", "a/b")];
    for (sent, key) in cases {
        assert_eq!(decode_key(sent).unwrap(), key);
    }
    assert!(decode_key(&"x".repeat(512)).is_ok());
    for sent in ["%", "%2", "%zz", "%+1", "%FF", "a%00", "a%0a", &"x".repeat(513)] {
        decode_key(sent).expect_err(sent);
    }
}

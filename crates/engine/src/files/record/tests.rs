use super::*;

fn records(text: &str, is_last: bool) -> (Vec<(usize, Vec<String>)>, usize) {
    let cut = cut(text.as_bytes(), b',', 1, is_last);
    let rows = cut
        .records
        .iter()
        .map(|record| {
            let fields = cut.of(record).iter().map(|field| field.text(text).into_owned());
            (record.line, fields.collect())
        })
        .collect();
    (rows, cut.consumed)
}

#[track_caller]
fn check(text: &str, expected: &[(usize, &[&str])]) {
    let (rows, consumed) = records(text, true);
    let expected: Vec<(usize, Vec<String>)> = expected
        .iter()
        .map(|(line, fields)| (*line, fields.iter().map(|field| (*field).to_owned()).collect()))
        .collect();
    assert_eq!(rows, expected, "{text:?}");
    assert_eq!(consumed, text.len(), "{text:?}");
}

#[test]
fn every_end_of_line_ends_a_record() {
    check("a,b\n1,2\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
    check("a,b\r\n1,2\r\n", &[(1, &["a", "b"]), (2, &["1", "2"])]);
    check("a,b\r1,2\r", &[(1, &["a", "b"]), (2, &["1", "2"])]);
    check("a,b\n1,2", &[(1, &["a", "b"]), (2, &["1", "2"])]);
    check("a,\n,", &[(1, &["a", ""]), (2, &["", ""])]);
}

#[test]
fn blank_lines_are_skipped_and_counted() {
    check("a\n\n\r\nb\n", &[(1, &["a"]), (4, &["b"])]);
    check("\n\n", &[]);
}

#[test]
fn quotes_hold_delimiters_lines_and_quotes() {
    check("\"a,1\",b\n", &[(1, &["a,1", "b"])]);
    check("\"a\nb\r\nc\",1\nd,2\n", &[(1, &["a\nb\r\nc", "1"]), (4, &["d", "2"])]);
    check("\"say \"\"hi\"\"\",\"\"\n", &[(1, &["say \"hi\"", ""])]);
    check("a\"b,c\"\n", &[(1, &["a\"b", "c\""])]);
}

#[test]
fn one_stray_quote_costs_one_line() {
    check("a,\"b\nc,d\n", &[(1, &[]), (2, &["c", "d"])]);
    check("a,\"b\"x\nc,d\n", &[(1, &[]), (2, &["c", "d"])]);
    check("\"x\ny\"z,1\nc,d\n", &[(1, &[]), (3, &["c", "d"])]);
}

#[test]
fn a_record_that_the_block_cuts_off_waits_for_the_next() {
    assert_eq!(records("a,b\n1,", false).1, 4);
    assert_eq!(records("a,b\r", false).1, 0);
    assert_eq!(records("a,\"b\n", false).1, 0);
    assert_eq!(records("a,\"b\"", false).1, 0);
    assert_eq!(records("a,\"b\"x", false).1, 0);
}

#[test]
fn every_cut_of_the_text_gives_the_same_records() {
    let text = "id,note\r\n1,\"two\nlines, \"\"quoted\"\"\"\r2,plain\n\n3,\"\"\n4,é\n";
    let (whole, _) = records(text, true);
    for at in 0..text.len() {
        let first = cut(&text.as_bytes()[..at], b',', 1, false);
        let rest = cut(&text.as_bytes()[first.consumed..], b',', first.next_line, true);
        let mut rows = Vec::new();
        for (cut, base) in [(&first, 0), (&rest, first.consumed)] {
            for record in &cut.records {
                let fields = cut.of(record).iter();
                let fields = fields.map(|field| field.text(&text[base..]).into_owned()).collect();
                rows.push((record.line, fields));
            }
        }
        assert_eq!(rows, whole, "cut at {at}");
    }
}

#[test]
fn places_count_lines_and_characters() {
    let text = "\"é\nü\",x,y\n";
    let cut = cut(text.as_bytes(), b',', 7, true);
    let record = &cut.records[0];
    let places: Vec<_> =
        cut.of(record).iter().map(|field| place(text.as_bytes(), record, field.start)).collect();
    assert_eq!(places, [(7, 2), (8, 4), (8, 6)]);
}

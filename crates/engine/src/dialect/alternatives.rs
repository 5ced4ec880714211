//! Functions of other engines that have no rewrite, and what is written here instead.

/// What does here what a function of another engine does.
pub(crate) fn alternative(function: &str) -> Option<&'static str> {
    let name = function.to_ascii_lowercase();
    ALTERNATIVES.iter().find(|(names, _)| names.contains(&name.as_str())).map(|(_, other)| *other)
}

const ALTERNATIVES: [(&[&str], &str); 46] = [
    (
        &["dateadd", "date_add", "timestampadd", "datediff", "date_diff", "timestampdiff"],
        "`dateadd(day, 1, t)`, `datediff(day, a, b)`, with one of: microsecond, millisecond, second, minute, hour, day, week, month, quarter, year",
    ),
    (&["tumble", "tumble_start", "tumble_end"], "`TUMBLE(t, INTERVAL '5' MINUTE)`"),
    (&["iff", "if"], "`CASE WHEN condition THEN a ELSE b END`"),
    (&["zeroifnull"], "`coalesce(x, 0)`"),
    (&["div0", "safe_divide", "try_divide"], "`a / NULLIF(b, 0)`"),
    (&["safe_cast", "try_to_number", "try_to_date", "to_number"], "`TRY_CAST(x AS type)`"),
    (&["to_varchar", "tostring"], "`CAST(x AS VARCHAR)`, or `to_char(x, format)`"),
    (
        &["getdate", "sysdate", "systimestamp"],
        "`'{{ run_started_at }}'` in a model, `now()` elsewhere",
    ),
    (&["current_timestamp_ltz", "unix_micros"], "`now()`"),
    (&["listagg", "group_concat", "string_aggregate"], "`string_agg(x, ',')`"),
    (&["count_if", "countif"], "`count(*) FILTER (WHERE condition)`"),
    (&["sum_if", "sumif"], "`sum(x) FILTER (WHERE condition)`"),
    (&["avg_if", "avgif"], "`avg(x) FILTER (WHERE condition)`"),
    (&["any_value", "arbitrary", "any"], "`min(x)`, or `first_value(x ORDER BY t)`"),
    (&["max_by", "arg_max", "argmax"], "`last_value(x ORDER BY t)`"),
    (&["min_by", "arg_min", "argmin"], "`first_value(x ORDER BY t)`"),
    (&["collect_list"], "`array_agg(x)`"),
    (&["collect_set"], "`array_agg(DISTINCT x)`"),
    (
        &["percentile_approx", "approx_percentile", "approx_quantile", "approx_quantiles"],
        "`approx_percentile_cont(x, 0.5)`",
    ),
    (
        &["percentile", "quantile", "quantile_cont"],
        "`percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`, or `median(x)`",
    ),
    (&["hll", "hll_count", "ndv", "approx_unique", "uniq", "hyperloglog"], "`approx_distinct(x)`"),
    (
        &[
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "dayofweek",
            "dayofyear",
            "weekofyear",
            "quarter",
        ],
        "`date_part('unit', t)`, such as `date_part('month', t)`",
    ),
    (
        &["date_format", "strftime", "format_date", "format_timestamp", "format_datetime"],
        "`to_char(t, '%Y-%m-%d')`",
    ),
    (
        &[
            "str_to_date",
            "parse_date",
            "strptime",
            "to_timestamp_ntz",
            "parse_timestamp",
            "parse_datetime",
        ],
        "`to_date(text, format)` or `to_timestamp(text, format)`",
    ),
    (&["unix_timestamp", "epoch", "unix_seconds"], "`to_unixtime(t)`"),
    (&["timestamp_trunc", "datetime_trunc", "trunc_date"], "`date_trunc('unit', t)`"),
    (
        &["time_bucket", "time_slice", "window"],
        "`date_bin(INTERVAL '5 minutes', t)`, or `TUMBLE(t, INTERVAL '5' MINUTE)`",
    ),
    (
        &["hop", "hop_start", "hop_end", "session", "session_start", "session_end"],
        "a feature view with `windows` (`features/*.toml`), which hops and slides",
    ),
    (&["last_day"], "`dateadd(day, -1, dateadd(month, 1, date_trunc('month', t)))`"),
    (&["months_between"], "`datediff(month, a, b)`"),
    (&["len", "char_len"], "`length(x)`"),
    (&["charindex", "locate", "position_of"], "`strpos(text, part)`"),
    (&["regexp_extract", "regexp_substr"], "`regexp_match(text, pattern)[1]`"),
    (&["rlike", "regexp_contains", "regexp_matches"], "`regexp_like(text, pattern)`"),
    (
        &["json_extract", "json_extract_scalar", "get_json_object", "parse_json", "json_value"],
        "columns of their own: `icecore ingest` reads JSON lines into columns",
    ),
    (&["size", "array_size"], "`cardinality(x)`"),
    (&["explode", "flatten", "posexplode"], "`unnest(x)`"),
    (&["generate_array", "sequence"], "`generate_series(a, b)`"),
    (
        &["generate_uuid", "gen_random_uuid", "uuid_string", "newid"],
        "`uuid()`, which is another one in each run",
    ),
    (&["rand"], "`random()`, which is another one in each run"),
    (&["isnull"], "`x IS NULL`, or `coalesce(x, other)`"),
    (&["decode"], "`CASE x WHEN … THEN … END`"),
    (&["hash", "farm_fingerprint", "xxhash64", "murmur_hash"], "`sha256(x)` or `md5(x)`"),
    (&["bool_or_agg", "logical_or", "boolor_agg"], "`bool_or(x)`"),
    (&["logical_and", "booland_agg"], "`bool_and(x)`"),
    (&["mode"], "a `GROUP BY` with `row_number() OVER (ORDER BY count(*) DESC)`"),
];

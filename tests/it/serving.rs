//! The HTTP service of a project, started as users start it. C86-C91 C164-C167

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::binary::{demo, json, python, script};
use crate::service::Service;

fn user(filter: &str) -> (String, f64) {
    let query = format!(
        "SELECT user_token, churn_probability AS p FROM ml_predictions.churn_scores \
         WHERE {filter} ORDER BY 1 LIMIT 1"
    );
    let rows = json(demo(), &["sql", &query]);
    (rows[0]["user_token"].as_str().unwrap().to_owned(), rows[0]["p"].as_f64().unwrap())
}

#[test]
fn an_answer_comes_from_the_cache_then_the_lakehouse_then_the_default() {
    let service = Service::start(demo(), &[]);
    let (high, probability) = user("score_bucket = 'high'");
    let cached = service.json_from("cache", &format!("/churn-score/{high}"));
    assert_eq!(cached["user_token"].as_str().unwrap(), high);
    assert!((cached["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);

    let (low, probability) = user("score_bucket <> 'high'");
    let slow = service.json_from("lakehouse", &format!("/churn-score/{low}"));
    assert!((slow["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);
    assert_eq!(slow["score_date"], "2026-07-01");
    assert!(!slow["model_version"].is_null());

    let none = service.json_from("default", "/churn-score/nobody");
    assert_eq!(none["churn_probability"], 0.05);
    assert_eq!(none["latency_path"], "no_score_found");

    assert_eq!(service.get("/healthz", "").0, 200);
    let (status, metrics) = service.get("/metrics", "");
    assert_eq!(status, 200);
    for name in
        ["icecore_http_request_duration_seconds", "source=\"cache\"", "source=\"lakehouse\""]
    {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    assert_eq!(service.get("/nowhere", "").0, 404);
}

// C164
#[test]
fn a_cache_that_is_down_is_no_error() {
    let service = Service::start(demo(), &[("ICECORE_ONLINE__URL", "redis://127.0.0.1:1/0")]);
    let (high, probability) = user("score_bucket = 'high'");
    let answer = service.json_from("lakehouse", &format!("/churn-score/{high}"));
    assert!((answer["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    let service = Service::start(demo(), &[("ICECORE_SERVE__TOKEN", "s3cret")]);
    assert_eq!(service.get("/churn-score/nobody", "").0, 401);
    assert_eq!(service.get("/churn-score/nobody", "Authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(service.get("/churn-score/nobody", "Authorization: Bearer s3cret\r\n").0, 200);
}

#[test]
fn an_open_address_without_a_token_is_refused() {
    let (status, message) = crate::binary::failure(demo(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_ne!(status, 0);
    assert!(message.contains("token"), "{message}");
}

/// Writes an authority, a certificate of it for `localhost`, and its key.
fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the test's authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

#[test]
fn python_clients_talk_to_both_services_inside_tls() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    write_certificates(dir.path());
    let tls = "\n[serve.tls]\ncertificate = 'server.pem'\nkey = 'server.key'\n";
    let mutual = format!("{tls}client_ca = 'ca.pem'\n");
    for (settings, own) in [(tls, "anonymous"), (mutual.as_str(), "known")] {
        std::fs::write(dir.path().join("icecore.toml"), settings).unwrap();
        let http = Service::start(dir.path(), &[]);
        let flight = Service::start_as("flight", dir.path(), &[]);
        let folder = dir.path().to_str().unwrap();
        let seen =
            script(&python, "tls_clients.py", &[&http.address, &flight.address, folder, own]);
        assert_eq!(seen["http"], "ok", "{own}: {seen}");
        assert_eq!(seen["flight"], 0, "{own}: {seen}");
        assert_eq!(seen["plain"], "refused", "{own}: {seen}");
        assert_eq!(seen["without_certificate"], if own == "known" { "refused" } else { "ok" });
    }
    std::fs::write(dir.path().join("server.key"), "not a key").unwrap();
    let (status, message) =
        crate::binary::failure(dir.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_ne!(status, 0);
    assert!(message.contains("server.key") && message.contains("PEM"), "{message}");
}

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

/// An authority, and certificates of it in files.
struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    /// Writes a certificate for `localhost`, and its key.
    fn issue(&self, name: &str) -> TlsOptions {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (pem, private) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        TlsOptions::new(pem, private)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a client that trusts this authority connects with.
    fn client(&self, own: Option<&TlsOptions>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_file(&own.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

async fn listening(options: TlsOptions) -> (TlsListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TlsListener::new(socket, options, Protocol::Http1).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Whether a client gets back what it sends.
async fn echoes(client: &TlsConnector, address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, stream).await?;
    stream.write_all(b"ping").await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

/// Answers every connection with what it sends.
fn answering(mut listener: TlsListener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await;
            tokio::spawn(async move {
                let mut sent = [0; 4];
                connection.read_exact(&mut sent).await?;
                connection.write_all(&sent).await?;
                connection.shutdown().await
            });
        }
    })
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_keeps_nobody_waiting() {
    let authority = Authority::new();
    let (listener, address) = listening(authority.issue("server")).await;
    let server = answering(listener);
    let silent = TcpStream::connect(address).await.unwrap();
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    echoes(&authority.client(None), address).await.unwrap();
    // Another authority's clients do not trust this server.
    assert!(echoes(&Authority::new().client(None), address).await.is_err());
    drop(silent);
    server.abort();
}

#[tokio::test]
async fn only_clients_with_a_certificate_come_in_where_one_is_asked_for() {
    let authority = Authority::new();
    let options = authority.issue("server").with_client_ca(authority.path("ca.pem"));
    let (listener, address) = listening(options).await;
    let server = answering(listener);
    let own = authority.issue("client");
    echoes(&authority.client(Some(&own)), address).await.unwrap();
    assert!(echoes(&authority.client(None), address).await.is_err());
    let stranger = Authority::new();
    let strange = stranger.issue("client");
    assert!(echoes(&authority.client(Some(&strange)), address).await.is_err());
    server.abort();
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let options = authority.issue("server");
    let mut certificates = Certificates::load(options.clone(), Protocol::Http1).unwrap();
    let begin = Instant::now();
    let at = |seconds: u64| begin + Duration::from_secs(seconds);
    let first = certificates.current(at(1));
    std::fs::write(&options.certificate, "-----BEGIN CERT").unwrap();
    let file = std::fs::File::options().append(true).open(&options.certificate).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(Arc::ptr_eq(&first, &certificates.current(at(12))));

    authority.issue("server");
    assert!(Arc::ptr_eq(&first, &certificates.current(at(13))), "not looked at so soon");
    let renewed = certificates.current(at(23));
    assert!(!Arc::ptr_eq(&first, &renewed));
    assert!(Arc::ptr_eq(&renewed, &certificates.current(at(40))));
}

#[test]
fn files_that_are_no_certificates_are_refused_by_name() {
    let authority = Authority::new();
    let refused = |options: &TlsOptions| {
        Certificates::load(options.clone(), Protocol::Http2).unwrap_err().to_string()
    };
    let (server, other) = (authority.issue("server"), authority.issue("other"));
    let with = |certificate: &Path, key: &Path| TlsOptions::new(certificate, key);
    let absent = refused(&with(Path::new("/nowhere.pem"), &server.key));
    assert!(absent.contains("/nowhere.pem"), "{absent}");
    let swapped = refused(&with(&server.key, &server.certificate));
    assert!(swapped.contains("server.key") && swapped.contains("none"), "{swapped}");
    let foreign = refused(&with(&server.certificate, &other.key));
    assert!(foreign.contains("is not that of the certificate"), "{foreign}");
    let text = authority.path("notes.txt");
    std::fs::write(&text, "my password is hunter2").unwrap();
    let notes = refused(&server.with_client_ca(&text));
    assert!(notes.contains("notes.txt") && !notes.contains("hunter2"), "{notes}");
}

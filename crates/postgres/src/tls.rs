//! TLS to RDS: verified by RDS's own roots, which no other program knows, and by those of a parameter.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Of the Regions that the package of the roots knows; the parameter `ExtraDatabaseRoots` has further ones.
const RDS_ROOTS: &[u8] = include_bytes!("rds-roots.pem");

pub(crate) fn connector(extra_roots: &str) -> Result<MakeRustlsConnect, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(RDS_ROOTS) {
        roots.add(certificate?)?;
    }
    // A parameter has its line breaks as \n, which a definition's substitution may or may not have made one.
    let extra_roots = extra_roots.replace("\\n", "\n");
    let known = roots.len();
    for certificate in CertificateDer::pem_slice_iter(extra_roots.as_bytes()) {
        roots.add(certificate?)?;
    }
    if roots.len() == known && !extra_roots.trim().is_empty() {
        return Err("it holds no certificate".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_can_be_read() {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(RDS_ROOTS).collect();
        assert!(roots.len() > 50, "{} roots", roots.len());
        assert!(roots.iter().all(Result::is_ok));
        connector("").expect("the roots are legal");
    }

    #[test]
    fn a_parameter_that_is_no_certificate_is_an_error() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for broken in [broken, "no certificate"] {
            connector(broken).map(|_| ()).expect_err(broken);
        }
    }

    #[test]
    fn line_breaks_may_be_written_as_a_parameter_has_them() {
        let pem = String::from_utf8_lossy(RDS_ROOTS);
        let first = pem.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a root").replace('\n', "\\n");
        connector(&first).expect("a root in one line");
    }
}

//! By what RDS's certificates are verified: its own roots, which no other program knows, and those of a parameter.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Of the Regions that the package of the roots knows; the parameter `ExtraDatabaseRoots` has further ones.
const RDS_ROOTS: &[u8] = include_bytes!("rds-roots.pem");

pub(crate) fn roots(extra_roots: &str) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    // A parameter has its line breaks as \n, which a definition's substitution may or may not have made one.
    let extra_roots = extra_roots.replace("\\n", "\n");
    let mut found = certificates(RDS_ROOTS)?;
    let extra = certificates(extra_roots.as_bytes())?;
    if extra.is_empty() && !extra_roots.trim().is_empty() {
        return Err("it holds no certificate".into());
    }
    found.extend(extra);
    Ok(found)
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut found = vec![];
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate?;
        found.push(certificate.to_vec());
        // Whether it is a certificate at all.
        RootCertStore::empty().add(certificate)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_can_be_read() {
        let found: Vec<_> = CertificateDer::pem_slice_iter(RDS_ROOTS).collect();
        assert!(found.len() > 50, "{} roots", found.len());
        assert!(found.iter().all(Result::is_ok));
        roots("").expect("the roots are legal");
    }

    #[test]
    fn a_parameter_that_is_no_certificate_is_an_error() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for broken in [broken, "no certificate"] {
            roots(broken).expect_err(broken);
        }
    }

    #[test]
    fn line_breaks_may_be_written_as_a_parameter_has_them() {
        let pem = String::from_utf8_lossy(RDS_ROOTS);
        let first = pem.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a root").replace('\n', "\\n");
        roots(&first).expect("a root in one line");
    }
}

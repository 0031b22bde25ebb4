//! Virtual-host style: `<bucket>.<domain>` for the domains of `-s3.domainName`. Ports and case do not matter.

/// The domains.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// Of these domains.
    pub(crate) fn new(domains: &[String]) -> Self {
        let clean = |d: &String| d.trim().trim_matches('.').to_ascii_lowercase();
        Self(
            domains
                .iter()
                .map(clean)
                .filter(|d| !d.is_empty())
                .collect(),
        )
    }

    /// Whether every host is path style.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bucket that a `Host` header names, as it was written.
    pub(crate) fn bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let host = without_port(host).trim_end_matches('.');
        self.0.iter().find_map(|domain| {
            let at = host.len().checked_sub(domain.len() + 1)?;
            let (bucket, rest) = host.split_at_checked(at)?;
            let ours = rest
                .strip_prefix('.')
                .is_some_and(|d| d.eq_ignore_ascii_case(domain));
            (ours && !bucket.is_empty()).then_some(bucket)
        })
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_stand_before_our_domains_only() {
        let hosts = Hosts::new(&[
            "s3.example.com".to_owned(),
            ".Local.".to_owned(),
            String::new(),
        ]);
        let table = [
            ("b.s3.example.com", Some("b")),
            ("b.S3.Example.com:8333", Some("b")),
            ("my.dotted.bucket.s3.example.com", Some("my.dotted.bucket")),
            ("b.local", Some("b")),
            ("b.s3.example.com.", Some("b")),
            ("s3.example.com", None),
            (".s3.example.com", None),
            ("evils3.example.com", None),
            ("b.s3.example.com.evil.org", None),
            ("localhost", None),
            ("127.0.0.1:8333", None),
            ("[::1]:8333", None),
            ("é.local", Some("é")),
            ("", None),
        ];
        for (host, want) in table {
            assert_eq!(hosts.bucket(host), want, "{host}");
        }
        assert!(Hosts::new(&[]).is_empty());
    }
}

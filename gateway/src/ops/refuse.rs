//! Headers that ask for what is not built are refused, never ignored. Pure: the access check calls it for every
//! operation, so no operation can forget it.

use http::HeaderMap;

use crate::error::{Code, GatewayError};

/// Which kind of operation carries the headers: what is a wish on a write may be nonsense on a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes something.
    Write,
    /// Changes nothing.
    Read,
}

/// What a header may say.
enum Rule {
    /// One of these values; anything else is refused as `code`.
    OneOf(&'static [&'static str], Code, &'static str),
    /// One of these values; known others are one error, unknown ones another.
    Canned(&'static [&'static str], &'static [&'static str]),
    /// Nothing at all.
    Never(Code, &'static str),
    /// Nothing but an empty value.
    Empty(Code, &'static str),
    /// `AES256`; the rest by what it names.
    Encryption,
    /// A key that the client holds.
    CustomerKey,
    /// Where a website sends its visitors; kept with the object.
    Redirect,
}

const LOCK: Rule = Rule::Never(
    Code::InvalidRequest,
    "Bucket is missing Object Lock Configuration",
);
const KMS: Rule = Rule::Never(
    Code::NotImplemented,
    "Server-side encryption with KMS keys is not implemented",
);
const GRANT: Rule = Rule::Never(
    Code::AccessControlListNotSupported,
    "The bucket does not allow ACLs",
);
const CANNED_OK: &[&str] = &["private", "bucket-owner-full-control"];
const CANNED_KNOWN: &[&str] = &[
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "log-delivery-write",
];

const REDIRECTS: [&str; 3] = ["/", "http://", "https://"];

/// Every header that may ask for what is not built.
const RULES: &[(&str, Rule)] = &[
    ("x-amz-server-side-encryption", Rule::Encryption),
    ("x-amz-server-side-encryption-aws-kms-key-id", KMS),
    ("x-amz-server-side-encryption-context", KMS),
    (
        "x-amz-server-side-encryption-bucket-key-enabled",
        Rule::OneOf(
            &["false"],
            Code::NotImplemented,
            "Bucket keys are not implemented",
        ),
    ),
    (
        "x-amz-server-side-encryption-customer-algorithm",
        Rule::CustomerKey,
    ),
    (
        "x-amz-server-side-encryption-customer-key",
        Rule::CustomerKey,
    ),
    (
        "x-amz-server-side-encryption-customer-key-md5",
        Rule::CustomerKey,
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-algorithm",
        Rule::CustomerKey,
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key",
        Rule::CustomerKey,
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-key-md5",
        Rule::CustomerKey,
    ),
    ("x-amz-object-lock-mode", LOCK),
    ("x-amz-object-lock-retain-until-date", LOCK),
    ("x-amz-object-lock-legal-hold", LOCK),
    ("x-amz-object-lock-event-hold", LOCK),
    (
        "x-amz-tagging",
        Rule::Empty(Code::NotImplemented, "Object tags are not implemented"),
    ),
    ("x-amz-acl", Rule::Canned(CANNED_OK, CANNED_KNOWN)),
    ("x-amz-grant-full-control", GRANT),
    ("x-amz-grant-read", GRANT),
    ("x-amz-grant-read-acp", GRANT),
    ("x-amz-grant-write", GRANT),
    ("x-amz-grant-write-acp", GRANT),
    (
        "x-amz-storage-class",
        Rule::OneOf(
            &["STANDARD"],
            Code::InvalidStorageClass,
            "Only the storage class STANDARD is available",
        ),
    ),
    (
        "x-amz-write-offset-bytes",
        Rule::Never(
            Code::NotImplemented,
            "Appending with x-amz-write-offset-bytes is not implemented",
        ),
    ),
    (
        "x-amz-if-match-last-modified-time",
        Rule::Never(
            Code::NotImplemented,
            "x-amz-if-match-last-modified-time is not implemented",
        ),
    ),
    (
        "x-amz-if-match-size",
        Rule::Never(
            Code::NotImplemented,
            "x-amz-if-match-size is not implemented",
        ),
    ),
    (
        "x-amz-bucket-object-lock-enabled",
        Rule::OneOf(
            &["false", "False"],
            Code::NotImplemented,
            "Object Lock is not implemented",
        ),
    ),
    (
        "x-amz-object-ownership",
        Rule::OneOf(
            &["BucketOwnerEnforced"],
            Code::NotImplemented,
            "Only BucketOwnerEnforced is available",
        ),
    ),
    (
        "x-amz-bucket-namespace",
        Rule::OneOf(
            &["global"],
            Code::InvalidArgument,
            "Only the bucket namespace global is available",
        ),
    ),
    (
        "x-amz-object-annotation-directive",
        Rule::OneOf(
            &["COPY", "EXCLUDE"],
            Code::InvalidArgument,
            "Unknown annotation directive",
        ),
    ),
    (
        "x-amz-tagging-directive",
        Rule::OneOf(
            &["COPY", "REPLACE"],
            Code::InvalidArgument,
            "Unknown tagging directive",
        ),
    ),
    ("x-amz-website-redirect-location", Rule::Redirect),
];

/// Refuses a request whose headers ask for what is not built.
pub(crate) fn headers(kind: Kind, headers: &HeaderMap) -> Result<(), GatewayError> {
    for name in headers.keys().filter(|n| n.as_str().starts_with("x-amz-")) {
        let Some((_, rule)) = RULES.iter().find(|(n, _)| *n == name.as_str()) else {
            continue;
        };
        for value in headers.get_all(name) {
            one(kind, rule, value.to_str().unwrap_or("\u{fffd}").trim())?;
        }
    }
    Ok(())
}

fn one(kind: Kind, rule: &Rule, value: &str) -> Result<(), GatewayError> {
    match rule {
        Rule::OneOf(ok, _, _) if ok.contains(&value) => Ok(()),
        Rule::OneOf(_, code, message) | Rule::Never(code, message) => {
            Err(GatewayError::refused(*code, *message))
        }
        Rule::Empty(..) if value.is_empty() => Ok(()),
        Rule::Empty(code, message) => Err(GatewayError::refused(*code, *message)),
        Rule::Canned(ok, _) if ok.contains(&value) => Ok(()),
        Rule::Canned(_, known) if known.contains(&value) => {
            Err(Code::AccessControlListNotSupported.into())
        }
        Rule::Canned(..) => Err(Code::InvalidArgument.into()),
        Rule::Encryption => match value {
            "AES256" => Ok(()),
            "aws:kms" | "aws:kms:dsse" | "aws:fsx" => Err(GatewayError::refused(
                Code::NotImplemented,
                "Server-side encryption with KMS keys is not implemented",
            )),
            _ => Err(Code::InvalidEncryptionAlgorithmError.into()),
        },
        Rule::Redirect if REDIRECTS.iter().any(|p| value.starts_with(p)) => Ok(()),
        Rule::Redirect => Err(Code::InvalidRedirectLocation.into()),
        Rule::CustomerKey => Err(match kind {
            Kind::Write => GatewayError::refused(
                Code::NotImplemented,
                "Server-side encryption with customer-provided keys is not implemented",
            ),
            Kind::Read => GatewayError::refused(
                Code::InvalidRequest,
                "The encryption parameters are not applicable to this object",
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn code(kind: Kind, name: &'static str, value: &'static str) -> Option<Code> {
        let mut map = HeaderMap::new();
        map.insert(name, HeaderValue::from_static(value));
        match headers(kind, &map) {
            Ok(()) => None,
            Err(GatewayError::Refused { code, .. }) => Some(code),
            Err(other) => panic!("{other}"),
        }
    }

    const TABLE: &[(&str, &str, Option<Code>)] = &[
        ("x-amz-server-side-encryption", "AES256", None),
        (
            "x-amz-server-side-encryption",
            "aws:kms",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption",
            "aws:kms:dsse",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption",
            "aes256",
            Some(Code::InvalidEncryptionAlgorithmError),
        ),
        (
            "x-amz-server-side-encryption",
            "",
            Some(Code::InvalidEncryptionAlgorithmError),
        ),
        (
            "x-amz-server-side-encryption-aws-kms-key-id",
            "k",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption-context",
            "e30=",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption-bucket-key-enabled",
            "true",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption-bucket-key-enabled",
            "false",
            None,
        ),
        (
            "x-amz-server-side-encryption-customer-algorithm",
            "AES256",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-server-side-encryption-customer-key",
            "AAAA",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-copy-source-server-side-encryption-customer-key",
            "AAAA",
            Some(Code::NotImplemented),
        ),
        (
            "x-amz-object-lock-mode",
            "GOVERNANCE",
            Some(Code::InvalidRequest),
        ),
        (
            "x-amz-object-lock-retain-until-date",
            "2030-01-01T00:00:00Z",
            Some(Code::InvalidRequest),
        ),
        (
            "x-amz-object-lock-legal-hold",
            "ON",
            Some(Code::InvalidRequest),
        ),
        ("x-amz-tagging", "a=b", Some(Code::NotImplemented)),
        ("x-amz-tagging", "", None),
        ("x-amz-acl", "private", None),
        ("x-amz-acl", "bucket-owner-full-control", None),
        (
            "x-amz-acl",
            "public-read",
            Some(Code::AccessControlListNotSupported),
        ),
        (
            "x-amz-acl",
            "authenticated-read",
            Some(Code::AccessControlListNotSupported),
        ),
        ("x-amz-acl", "nonsense", Some(Code::InvalidArgument)),
        (
            "x-amz-grant-read",
            "id=\"x\"",
            Some(Code::AccessControlListNotSupported),
        ),
        (
            "x-amz-grant-full-control",
            "id=\"x\"",
            Some(Code::AccessControlListNotSupported),
        ),
        ("x-amz-storage-class", "STANDARD", None),
        (
            "x-amz-storage-class",
            "GLACIER",
            Some(Code::InvalidStorageClass),
        ),
        (
            "x-amz-storage-class",
            "nonsense",
            Some(Code::InvalidStorageClass),
        ),
        ("x-amz-write-offset-bytes", "0", Some(Code::NotImplemented)),
        ("x-amz-website-redirect-location", "/x", None),
        (
            "x-amz-website-redirect-location",
            "https://example.com/",
            None,
        ),
        (
            "x-amz-website-redirect-location",
            "x",
            Some(Code::InvalidRedirectLocation),
        ),
        ("x-amz-request-payer", "requester", None),
        (
            "x-amz-bucket-object-lock-enabled",
            "true",
            Some(Code::NotImplemented),
        ),
        ("x-amz-bucket-object-lock-enabled", "false", None),
        ("x-amz-object-ownership", "BucketOwnerEnforced", None),
        (
            "x-amz-object-ownership",
            "ObjectWriter",
            Some(Code::NotImplemented),
        ),
        ("x-amz-bucket-namespace", "global", None),
        (
            "x-amz-bucket-namespace",
            "account-regional",
            Some(Code::InvalidArgument),
        ),
        ("x-amz-meta-tagging", "a=b", None),
        ("content-type", "text/plain", None),
    ];

    #[test]
    fn each_header_has_its_answer() {
        for (name, value, want) in TABLE {
            assert_eq!(code(Kind::Write, name, value), *want, "{name}: {value}");
        }
        assert_eq!(
            code(
                Kind::Read,
                "x-amz-server-side-encryption-customer-key",
                "AAAA"
            ),
            Some(Code::InvalidRequest)
        );
    }

    #[test]
    fn a_second_value_is_seen_too() {
        let mut map = HeaderMap::new();
        map.append("x-amz-storage-class", HeaderValue::from_static("STANDARD"));
        map.append("x-amz-storage-class", HeaderValue::from_static("GLACIER"));
        assert!(headers(Kind::Write, &map).is_err());
    }
}

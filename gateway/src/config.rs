//! What the operator may set.

/// Settings of the S3 gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// `-s3.domainName`: requests to `<bucket>.<domain>` are virtual-host style. Several may be given.
    pub domain_names: Vec<String>,
    /// `-s3.region`.
    pub region: String,
    /// Placement that uploads ask for (`-filer.replication`); `None` is main's default.
    pub placement: Option<halofs_types::Placement>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            domain_names: Vec::new(),
            region: "us-east-1".to_owned(),
            placement: None,
        }
    }
}

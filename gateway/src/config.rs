//! What the operator may set.

use std::time::Duration;

use halofs_types::limits;

/// Settings of the S3 gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// `-s3.domainName`: requests to `<bucket>.<domain>` are virtual-host style. Several may be given.
    pub domain_names: Vec<String>,
    /// `-s3.region`.
    pub region: String,
    /// Body bytes in flight.
    pub bytes_in_flight: usize,
    /// How long a request waits for its share of them.
    pub admission_wait: Duration,
    /// Placement that uploads ask for (`-filer.replication`); `None` is main's default.
    pub placement: Option<halofs_types::Placement>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            domain_names: Vec::new(),
            region: "us-east-1".to_owned(),
            bytes_in_flight: limits::BYTES_IN_FLIGHT_DEFAULT,
            admission_wait: Duration::from_secs(limits::ADMISSION_WAIT_SECS),
            placement: None,
        }
    }
}

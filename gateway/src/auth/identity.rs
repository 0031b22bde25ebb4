//! Who exists and what each may do.
//!
//! A grant is an action and a scope. Bucket names compare whole, never by prefix: a grant on `tenant1` says nothing
//! about `tenant1234`. Key scopes are a prefix that ends in `*`, or one exact key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use halofs_types::object::Owner;

/// Owner of what an identity without an account makes.
pub const DEFAULT_ACCOUNT_ID: &str =
    "6861c3b5d0a94ee8b7f2d10f4a9e5c3768a1f0c52e4b7d93806f1ea2c4d5b790";
/// Owner of what unsigned requests make, unless the identity `anonymous` has an account. AWS's own id for them.
pub const ANONYMOUS_ACCOUNT_ID: &str = "65a011a29cdf8ec533ec3d1ccaae921c";
/// The name that opens what its actions say to unsigned requests.
pub const ANONYMOUS: &str = "anonymous";

/// What a grant allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Everything.
    Admin,
    /// Object bytes and headers, and bucket settings.
    Read,
    /// Puts, deletes, uploads.
    Write,
    /// Names.
    List,
    /// Tags.
    Tagging,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Read,
        Self::Write,
        Self::List,
        Self::Tagging,
    ];

    /// As it stands in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "Admin",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::List => "List",
            Self::Tagging => "Tagging",
        }
    }
}

/// Where a grant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    All,
    /// One bucket and all of its keys.
    Bucket(String),
    /// Keys of one bucket that begin so.
    Prefix(String, String),
    /// One key.
    Key(String, String),
}

/// An action where it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub action: Action,
    /// Where.
    pub scope: Scope,
}

/// What a request touches: parsed once, never again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// No bucket.
    Service,
    /// A bucket as a whole.
    Bucket(&'a str),
    /// A bucket's existence, which whoever may touch a part of it may learn.
    BucketPart(&'a str),
    /// A key.
    Key(&'a str, &'a str),
    /// The names under a prefix.
    Names(&'a str, &'a str),
}

impl Scope {
    fn covers(&self, resource: Resource<'_>) -> bool {
        match (self, resource) {
            (Self::All, _) => true,
            (Self::Bucket(mine), r) => r.bucket() == Some(mine),
            (Self::Prefix(mine, _) | Self::Key(mine, _), Resource::BucketPart(b)) => b == mine,
            (Self::Prefix(mine, p), Resource::Key(b, k) | Resource::Names(b, k)) => {
                b == mine && k.starts_with(p)
            }
            (Self::Key(mine, key), Resource::Key(b, k)) => b == mine && k == key,
            (Self::Prefix(..) | Self::Key(..), Resource::Service | Resource::Bucket(_))
            | (Self::Key(..), Resource::Names(..)) => false,
        }
    }
}

impl<'a> Resource<'a> {
    /// The bucket, if there is one.
    pub fn bucket(self) -> Option<&'a str> {
        match self {
            Self::Service => None,
            Self::Bucket(b) | Self::BucketPart(b) | Self::Key(b, _) | Self::Names(b, _) => Some(b),
        }
    }
}

/// Someone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As the configuration calls it; goes into logs.
    pub name: String,
    /// The account that owns what it makes.
    pub owner: Owner,
    /// What it may do.
    pub grants: Vec<Grant>,
}

impl Identity {
    /// May do everything, for the default account.
    pub fn admin(name: &str) -> Self {
        let owner = Owner {
            id: DEFAULT_ACCOUNT_ID.to_owned(),
            display_name: name.to_owned(),
        };
        Self {
            name: name.to_owned(),
            owner,
            grants: vec![Grant {
                action: Action::Admin,
                scope: Scope::All,
            }],
        }
    }

    /// Whether a grant covers it.
    pub fn may(&self, action: Action, resource: Resource<'_>) -> bool {
        self.grants
            .iter()
            .any(|g| (g.action == action || g.action == Action::Admin) && g.scope.covers(resource))
    }

    /// Whether ListBuckets shows it this bucket: any grant that touches it.
    pub fn sees(&self, bucket: &str) -> bool {
        self.grants
            .iter()
            .any(|g| g.scope.covers(Resource::BucketPart(bucket)))
    }
}

/// An access key and its secret. Its `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Public.
    pub access_key: String,
    /// Secret.
    pub secret_key: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// All identities.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    by_key: HashMap<String, (Credential, Arc<Identity>)>,
    anonymous: Option<Arc<Identity>>,
}

impl Identities {
    /// One administrator.
    pub fn single(credential: Credential) -> Self {
        let mut all = Self::default();
        all.insert(credential, Arc::new(Identity::admin("halofs")));
        all
    }

    /// Adds a credential; `false` when its access key is taken.
    pub fn insert(&mut self, credential: Credential, identity: Arc<Identity>) -> bool {
        let key = credential.access_key.clone();
        self.by_key.insert(key, (credential, identity)).is_none()
    }

    /// Opens the door to unsigned requests.
    pub fn set_anonymous(&mut self, identity: Arc<Identity>) {
        self.anonymous = Some(identity);
    }

    /// Whose access key that is.
    pub fn find(&self, access_key: &str) -> Option<(&Credential, &Arc<Identity>)> {
        self.by_key.get(access_key).map(|(c, i)| (c, i))
    }

    /// Who unsigned requests are.
    pub fn anonymous(&self) -> Option<&Arc<Identity>> {
        self.anonymous.as_ref()
    }

    /// How many access keys there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nobody can sign in.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(action: Action, scope: Scope) -> Identity {
        Identity {
            grants: vec![Grant { action, scope }],
            ..Identity::admin("t")
        }
    }

    #[test]
    fn scopes_never_leak_to_siblings() {
        let bucket = with(Action::Read, Scope::Bucket("tenant1".into()));
        assert!(bucket.may(Action::Read, Resource::Key("tenant1", "a")));
        assert!(bucket.may(Action::Read, Resource::Bucket("tenant1")));
        for sibling in ["tenant1234", "tenant", "Tenant1", "tenant1.x", ""] {
            assert!(
                !bucket.may(Action::Read, Resource::Key(sibling, "a")),
                "{sibling}"
            );
            assert!(!bucket.sees(sibling), "{sibling}");
        }
        assert!(!bucket.may(Action::Write, Resource::Key("tenant1", "a")));
        assert!(!bucket.may(Action::Read, Resource::Service));

        let prefix = with(Action::List, Scope::Prefix("b".into(), "p/".into()));
        assert!(prefix.may(Action::List, Resource::Names("b", "p/")));
        assert!(prefix.may(Action::List, Resource::Names("b", "p/q")));
        assert!(!prefix.may(Action::List, Resource::Names("b", "p")));
        assert!(!prefix.may(Action::List, Resource::Names("b", "")));
        assert!(!prefix.may(Action::List, Resource::Bucket("b")));
        assert!(prefix.may(Action::List, Resource::BucketPart("b")));

        let key = with(Action::Read, Scope::Key("b".into(), "k".into()));
        assert!(key.may(Action::Read, Resource::Key("b", "k")));
        assert!(!key.may(Action::Read, Resource::Key("b", "k1")));
        assert!(!key.may(Action::Read, Resource::Names("b", "k")));
    }

    #[test]
    fn admin_of_a_bucket_is_admin_there_only() {
        let a = with(Action::Admin, Scope::Bucket("b".into()));
        for action in Action::ALL {
            assert!(a.may(action, Resource::Key("b", "k")));
            assert!(!a.may(action, Resource::Key("c", "k")));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let all = Identities::single(Credential {
            access_key: "AK".into(),
            secret_key: "hush".into(),
        });
        assert!(!format!("{all:?}").contains("hush"));
    }
}

//! Leases in real S3 stores: MinIO, which holds conditional puts, and Garage, which is looked at and taken or refused for what it does.

use std::sync::Arc;
use std::time::Duration;

use lease::conformance::{Harness, Later, suite};
use lease::{Access, Backend, Claim, Error, Job, Objects, RunId, Terms, open};
use store::{Credentials, Location, open_registers};
use testkit::servers::{ACCESS_KEY, SECRET_KEY, garage, minio};

fn credentials() -> Credentials {
    Credentials::new(ACCESS_KEY.into(), SECRET_KEY.into(), None)
}

struct Bucket(String);

impl Harness for Bucket {
    fn backend(&self) -> Later<'_, Arc<dyn Backend>> {
        Box::pin(async {
            let location = Location::parse(&self.0).unwrap();
            Arc::new(Objects::new(open_registers(&location, Some(credentials())).await.unwrap())) as Arc<dyn Backend>
        })
    }
    fn terms(&self) -> Terms {
        Terms::new(Terms::SHORTEST).unwrap()
    }
    /// Nothing brings the store's clock forward: this waits until it is far enough.
    fn expire(&self) -> Later<'_, ()> {
        Box::pin(async {
            let store = open_registers(&Location::parse(&self.0).unwrap(), Some(credentials())).await.unwrap();
            // The TTL, the margin of 5 s, and a second for times that are rounded.
            let until = store.now().await.unwrap() + Terms::SHORTEST + Duration::from_secs(7);
            while store.now().await.unwrap() < until {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }
}

#[tokio::test]
async fn minio_passes_the_suite() {
    suite(&Bucket(minio().await.bucket().await)).await;
}

#[tokio::test]
async fn a_store_without_conditional_puts_keeps_no_lease() {
    let Some(garage) = garage().await else { return };
    let url = garage.bucket().await;
    let access = credentials();
    let lease = open(&url, Access { password: None, s3: Some(&access) }, Terms::default()).await.unwrap();
    let claim = Claim::new(Job::parse("fragments").unwrap(), RunId::generate());
    let error = lease.acquire(&claim).await.unwrap_err();
    assert!(
        matches!(&error, Error::Config { what, .. } if what.contains("no lease")) && error.hint().is_some(),
        "{error} {error:?}"
    );
    let store = open_registers(&Location::parse(&url).unwrap(), Some(access)).await.unwrap();
    let left = store.list(&store::Prefix::all(), None).await.unwrap().entries;
    assert!(left.is_empty(), "a lease or a probe stays: {left:?}");
}

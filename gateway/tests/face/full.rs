//! A disk that has no room for names.

use super::sign::Call;
use super::world::World;

#[tokio::test]
async fn a_put_is_refused_before_anything_of_it_is_written_and_a_delete_is_not() {
    let w = World::new();
    w.bucket("bkt").await;
    w.filer.put("bkt", "old");
    w.filer.limit(1000);
    let writes = w.filer.writes();
    let put = |n: usize| Call::new("PUT", "/bkt/k").body(vec![b'x'; n]);
    let got = w.send(put(1001).sign("ADMIN", "admin-secret")).await;
    assert_eq!((got.status, got.code()), (503, "ServiceUnavailable"));
    assert!(got.body.contains("disk is full"), "{}", got.body);
    assert_eq!(w.filer.writes(), writes);
    // What fits gets as far as main, which these fakes do not have.
    let got = w.send(put(1000).sign("ADMIN", "admin-secret")).await;
    assert!(!got.body.contains("disk is full"), "{}", got.body);
    let got = w.admin("DELETE", "/bkt/old").await;
    assert_eq!(got.status, 204, "{}", got.body);
}

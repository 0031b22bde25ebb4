//! [`FilerApi`] over the operations.

use async_trait::async_trait;
use bytes::Bytes;
use halofs_client::error::FilerError;
use halofs_client::filer::{
    BucketPage, CommitObject, Committed, CompleteUpload, FilerApi, Found, ListBuckets, ListObjects,
    ListPage, ListUploads, NewBucket, NewUpload, Precondition, UploadPage,
};
use halofs_types::object::{Bucket, Object, Part, Upload};
use halofs_types::{AttemptId, BucketId, FileId, LeaseId, Timestamp, Uuid};

use super::{Filer, store_error};
use crate::key;

#[async_trait]
impl FilerApi for Filer {
    fn store_uuid(&self) -> Uuid {
        self.store.store_uuid()
    }

    fn time(&self) -> Timestamp {
        self.now()
    }

    fn room(&self, bytes: u64) -> Result<(), FilerError> {
        self.store.room(bytes).map_err(store_error)
    }

    async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, FilerError> {
        self.make_bucket(new).await
    }

    async fn bucket(&self, name: &str) -> Result<Bucket, FilerError> {
        let found = self.buckets.get(self.store.as_ref(), name)?;
        found
            .map(|(b, _)| b.as_ref().clone())
            .ok_or_else(|| FilerError::NoBucket(name.to_owned()))
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), FilerError> {
        self.remove_bucket(name).await
    }

    async fn list_buckets(&self, list: ListBuckets) -> Result<BucketPage, FilerError> {
        self.page_of_buckets(&list)
    }

    async fn lookup(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Found>, FilerError> {
        self.find(bucket, key)
    }

    async fn list(&self, bucket: BucketId, list: ListObjects) -> Result<ListPage, FilerError> {
        self.page(bucket, &list)
    }

    async fn commit_object(&self, commit: CommitObject) -> Result<Committed, FilerError> {
        self.put(commit).await
    }

    async fn replace_object(
        &self,
        bucket: Bucket,
        key: Bytes,
        revision: u64,
        object: Object,
    ) -> Result<Committed, FilerError> {
        self.replace(&bucket, &key, revision, object).await
    }

    async fn delete_objects(
        &self,
        bucket: &Bucket,
        keys: Vec<(Bytes, Precondition)>,
    ) -> Vec<Result<(), FilerError>> {
        self.remove(bucket, keys).await
    }

    async fn create_upload(&self, bucket: &Bucket, new: NewUpload) -> Result<Upload, FilerError> {
        self.begin(bucket, new).await
    }

    async fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
    ) -> Result<Upload, FilerError> {
        self.find_upload(bucket, key, id)
    }

    async fn put_part(
        &self,
        bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
        part: Part,
        leases: Vec<LeaseId>,
    ) -> Result<(), FilerError> {
        self.store_part(bucket, key, id, part, leases).await
    }

    async fn list_parts(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
        after: u32,
        limit: usize,
    ) -> Result<(Vec<Part>, bool), FilerError> {
        self.page_of_parts((bucket, key, id), after, limit)
    }

    async fn list_uploads(
        &self,
        bucket: BucketId,
        list: ListUploads,
    ) -> Result<UploadPage, FilerError> {
        self.page_of_uploads(bucket, &list)
    }

    async fn complete_upload(&self, complete: CompleteUpload) -> Result<Committed, FilerError> {
        self.complete(complete).await
    }

    async fn completed(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: AttemptId,
    ) -> Result<Option<Committed>, FilerError> {
        self.answer_of(bucket, key, id)
    }

    async fn abort_upload(
        &self,
        bucket: &Bucket,
        key: &[u8],
        id: AttemptId,
    ) -> Result<(), FilerError> {
        self.drop_upload(&key::upload(bucket.id, key, id), id).await
    }

    async fn open_lease(&self, first: FileId, count: u64) -> Result<LeaseId, FilerError> {
        self.lease(first, count).await
    }

    async fn renew_leases(&self, leases: Vec<LeaseId>) -> Result<(), FilerError> {
        self.renew(&leases)
    }

    async fn close_lease(&self, lease: LeaseId, unnamed: Vec<FileId>) -> Result<(), FilerError> {
        self.end_lease(lease, &unnamed).await
    }
}

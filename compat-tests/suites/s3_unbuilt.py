"""Operations and headers that are not built answer as the table says: never a listing, never silently ignored."""

import base64
import hashlib
import os

from .s3_objects import want

TABLE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tables", "unbuilt.tsv")
XML = {"PutBucketAcl": b'<AccessControlPolicy><Owner><ID>x</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
                       b' xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>',
       "PutBucketTagging": b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
       "PutBucketVersioning": b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
       "PutBucketCors": b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
       "PutBucketEncryption": b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>"
                              b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
       "PutBucketLifecycleConfiguration": b"<LifecycleConfiguration><Rule><ID>x</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
       "PutBucketLogging": b"<BucketLoggingStatus><LoggingEnabled><TargetBucket>b</TargetBucket><TargetPrefix>x</TargetPrefix></LoggingEnabled></BucketLoggingStatus>",
       "PutBucketNotificationConfiguration": b"<NotificationConfiguration><QueueConfiguration><Id>1</Id><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>",
       "PutBucketOwnershipControls": b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
       "PutBucketPolicy": b'{"Version":"2012-10-17","Statement":[]}',
       "PutBucketReplication": b"<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::b</Bucket></Destination></Rule></ReplicationConfiguration>",
       "PutBucketRequestPayment": b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
       "PutBucketWebsite": b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
       "PutBucketAccelerateConfiguration": b"<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
       "PutPublicAccessBlock": b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
       "PutObjectLockConfiguration": b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
       "PutObjectLegalHold": b"<LegalHold><Status>ON</Status></LegalHold>",
       "PutObjectRetention": b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2090-01-01T00:00:00Z</RetainUntilDate></Retention>",
       "PutBucketAbac": b"<AbacStatus><Status>Enabled</Status></AbacStatus>",
       "PutBucketAnalyticsConfiguration": b"<AnalyticsConfiguration><Id>x</Id><StorageClassAnalysis></StorageClassAnalysis></AnalyticsConfiguration>",
       "PutBucketIntelligentTieringConfiguration": b"<IntelligentTieringConfiguration><Id>x</Id><Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering></IntelligentTieringConfiguration>",
       "PutBucketInventoryConfiguration": b"<InventoryConfiguration><Id>x</Id><IsEnabled>true</IsEnabled><IncludedObjectVersions>All</IncludedObjectVersions><Schedule><Frequency>Daily</Frequency></Schedule>"
                                          b"<Destination><S3BucketDestination><Bucket>arn:aws:s3:::b</Bucket><Format>CSV</Format></S3BucketDestination></Destination></InventoryConfiguration>",
       "PutBucketMetricsConfiguration": b"<MetricsConfiguration><Id>x</Id></MetricsConfiguration>",
       "CreateBucketMetadataConfiguration": b"<MetadataConfiguration><JournalTableConfiguration><RecordExpiration><Expiration>DISABLED</Expiration></RecordExpiration></JournalTableConfiguration></MetadataConfiguration>",
       "CreateBucketMetadataTableConfiguration": b"<MetadataTableConfiguration><S3TablesDestination><TableBucketArn>a</TableBucketArn><TableName>t</TableName></S3TablesDestination></MetadataTableConfiguration>",
       "UpdateBucketMetadataInventoryTableConfiguration": b"<InventoryTableConfiguration><ConfigurationState>DISABLED</ConfigurationState></InventoryTableConfiguration>",
       "UpdateBucketMetadataJournalTableConfiguration": b"<JournalTableConfiguration><RecordExpiration><Expiration>DISABLED</Expiration></RecordExpiration></JournalTableConfiguration>",
       "UpdateBucketMetadataAnnotationTableConfiguration": b"<AnnotationTableConfiguration><ConfigurationState>DISABLED</ConfigurationState></AnnotationTableConfiguration>",
       "SelectObjectContent": b"<SelectObjectContentRequest><Expression>select 1</Expression><ExpressionType>SQL</ExpressionType><InputSerialization><CSV/></InputSerialization>"
                              b"<OutputSerialization><CSV/></OutputSerialization></SelectObjectContentRequest>",
       "RestoreObject": b"<RestoreRequest><Days>1</Days></RestoreRequest>",
       "UpdateObjectEncryption": b"<ObjectEncryption><SSEKMS><KMSKeyArn>a</KMSKeyArn></SSEKMS></ObjectEncryption>"}
XML["PutObjectAcl"] = XML["PutBucketAcl"]
XML["PutObjectTagging"] = XML["PutBucketTagging"]


def rows():
    with open(TABLE, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


def test_operations(t):
    s = t.server()
    raw = t.s3(s)
    raw.call("PUT", "/buc")
    raw.put("buc", "o", b"data")
    for name, method, target, status, code, text in rows():
        with t.case(name):
            path, _, query = target.partition("?")
            q = [tuple((p + "=").split("=")[:2]) for p in query.split("&")]
            headers = {"RenameObject": [("x-amz-rename-source", "/buc/o")]}.get(name, [])
            body = XML.get(name, b"")
            if body:
                headers = headers + [("content-md5", base64.b64encode(hashlib.md5(body).digest()).decode())]
            r = raw.call(method, path, q, headers, body)
            want((r.status, r.code), (int(status), None if code == "-" else code))
            assert text == "-" or text.encode() in r.body, r
            assert b"ListBucketResult" not in r.body
    with t.case("nothing changed"):
        want(raw.get("buc", "o").body, b"data")
        text = raw.call("GET", "/buc", [("list-type", "2")]).body
        want(text.count(b"<Key>"), 1)


def test_headers(t):
    """Headers that ask for what is not built are refused; harmless ones are accepted."""
    s = t.server()
    raw = t.s3(s)
    raw.call("PUT", "/buc")
    ssec = [("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
            ("x-amz-server-side-encryption-customer-key-md5", "hRasmdxgYDKV3nvbahU1MA==")]
    refused = [ssec, [("x-amz-server-side-encryption", "aws:kms")], [("x-amz-server-side-encryption", "aws:kms:dsse")],
               [("x-amz-server-side-encryption-aws-kms-key-id", "k")], [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-object-lock-retain-until-date", "2090-01-01T00:00:00Z")],
               [("x-amz-object-lock-legal-hold", "ON")], [("x-amz-tagging", "a=b")], [("x-amz-acl", "public-read")], [("x-amz-grant-read", 'id="x"')],
               [("x-amz-storage-class", "GLACIER")], [("x-amz-website-redirect-location", "x")], [("x-amz-write-offset-bytes", "0")]]
    for h in refused:
        with t.case("PUT with " + h[0][0] + " " + h[0][1][:12]):
            r = raw.put("buc", "no", b"x", h)
            assert r.status in (400, 501) and r.code, r
            want(raw.head("buc", "no").status, 404)
        with t.case("CreateMultipartUpload with " + h[0][0]):
            if h[0][0] != "x-amz-write-offset-bytes":
                r = raw.call("POST", "/buc/no", [("uploads", "")], h)
                assert r.status in (400, 501) and r.code, r
    with t.case("a website redirect is kept with the object"):
        want(raw.put("buc", "away", b"x", [("x-amz-website-redirect-location", "/x")]).status, 200)
        want(raw.head("buc", "away").header("x-amz-website-redirect-location"), "/x")
    for h in ([("x-amz-server-side-encryption", "AES256")], [("x-amz-storage-class", "STANDARD")], [("x-amz-acl", "private")],
              [("x-amz-acl", "bucket-owner-full-control")]):
        with t.case("PUT with " + h[0][1]):
            want(raw.put("buc", "yes", b"x", h).status, 200)
    with t.case("sealed objects say so"):
        want(raw.put("buc", "sse", b"x", [("x-amz-server-side-encryption", "AES256")]).header("x-amz-server-side-encryption"), "AES256")
    for h, code in (([("x-amz-bucket-object-lock-enabled", "true")], 501), ([("x-amz-acl", "public-read-write")], 400)):
        with t.case("CreateBucket with " + h[0][0]):
            r = raw.call("PUT", "/newb", (), h)
            assert r.status in (400, 501), (r, code)
            want(raw.call("HEAD", "/newb").status, 404)
    with t.case("a version id that is not null"):
        raw.put("buc", "v", b"x")
        r = raw.get("buc", "v", query=[("versionId", "abc")])
        assert r.status in (400, 404, 501), r
        want(raw.get("buc", "v", query=[("versionId", "null")]).status in (200, 501), True)
    for q in ("metadata", "append", "unknown-thing"):
        with t.case("unknown sub-resource " + q):
            r = raw.call("GET", "/buc", [(q, "")])
            assert r.status in (200, 400, 405, 501), r

"""The client of the S3 store: one bucket, its requests, multipart uploads, and how long failed requests are retried."""

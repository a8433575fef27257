"""An S3-compatible bucket: Backblaze B2, AWS, MinIO, SeaweedFS and others."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from citysplat_core.errors import StorageError

SINGLE_PUT_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**20
_NOT_THERE = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {
    "401",
    "403",
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "Unauthorized",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What the bucket says about an object, without reading it.

    Attributes:
        size_bytes: Its length.
        sha256: The hash that was recorded when it was put, hex; empty if it was put by others.
    """

    size_bytes: int
    sha256: str


class ObjectStore:
    """A bucket, or a prefix in one.

    A put is atomic: a reader sees the whole object or none. The trap: an upload in parts that is
    killed leaves hidden parts that some services bill; set a life-cycle rule that removes
    unfinished uploads.

    Requests are tried up to 8 times. The keys are handed to the client and kept nowhere else;
    ``repr`` and error messages hold the endpoint and bucket only. One store may be used from many
    threads.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        bucket: str,
        key_id: str,
        secret: str,
        prefix: str = "",
        region: str = "us-east-1",
        n_threads: int = 8,
    ) -> None:
        """Address a bucket; nothing is sent yet.

        Args:
            endpoint_url: For B2 ``https://s3.<region>.backblazeb2.com``.
            bucket: Name of an existing bucket.
            key_id: Access key id.
            secret: Secret key.
            prefix: Put before every key; a trailing slash is not needed.
            region: Region name, for B2 the part of the endpoint.
            n_threads: Most threads that will use the store at once.

        Raises:
            StorageError: The endpoint, the bucket or a key is empty or no address.
        """
        missing = [
            name
            for name, value in (
                ("backup.endpoint_url", endpoint_url),
                ("backup.bucket", bucket),
                ("the key id", key_id),
                ("the secret key", secret),
            )
            if not value
        ]
        if missing:
            raise StorageError(
                f"no backup target: {', '.join(missing)} not set",
                expected="an S3 endpoint, a bucket and its key",
                fix="Set [backup] in city.toml, and CITYSPLAT_S3_KEY_ID and CITYSPLAT_S3_SECRET.",
            )
        self.endpoint_url = endpoint_url
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with self._translated("the bucket"):
            try:
                self._client: Any = boto3.session.Session().client(
                    "s3",
                    endpoint_url=endpoint_url,
                    region_name=region,
                    aws_access_key_id=key_id,
                    aws_secret_access_key=secret,
                    config=_client_config(n_threads),
                )
            except ValueError as error:  # botocore's word for "this is no URL"
                raise StorageError(
                    f"backup.endpoint_url is {endpoint_url!r}",
                    expected="an address such as https://s3.us-west-004.backblazeb2.com",
                    fix="Correct [backup] in city.toml.",
                ) from error

    def __repr__(self) -> str:
        """Name the place, never the keys."""
        return f"ObjectStore({self.endpoint_url}, s3://{self.bucket}/{self.prefix})"

    def find(self, key: str) -> StoredObject | None:
        """Say what is known of an object, or None if it is not there.

        Raises:
            StorageError: The bucket cannot be reached or refuses the key.
        """
        try:
            with self._translated(key):
                head = self._client.head_object(Bucket=self.bucket, Key=self.prefix + key)
        except FileNotFoundError:
            return None
        return StoredObject(
            size_bytes=int(head["ContentLength"]),
            sha256=str(head.get("Metadata", {}).get("sha256", "")),
        )

    def put_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Store a file under a key, whole or not at all, replacing what is there.

        The service checks each request's MD5 against what arrived; ``sha256`` is recorded beside
        the object, and ``find`` gives it back.

        Raises:
            StorageError: The file's own hash differs from ``sha256`` (it is not what its manifest
                says), or the bucket refuses it.
        """
        digest = _hash_file(path)
        if digest.sha256 != sha256:
            raise StorageError(
                f"{path} has sha256 {digest.sha256[:12]}",
                expected=f"{sha256[:12]}, as its manifest says",
                fix="The disk or a program changed a finished artifact: restore it, or run again.",
            )
        target = {"Bucket": self.bucket, "Key": self.prefix + key}
        metadata = {"sha256": sha256}
        with self._translated(key), path.open("rb") as stream:
            if path.stat().st_size <= SINGLE_PUT_BYTES:
                self._client.put_object(
                    **target, Body=stream, ContentMD5=digest.md5, Metadata=metadata
                )
            else:
                self._client.upload_fileobj(
                    stream,
                    **target,
                    ExtraArgs={"Metadata": metadata},
                    Config=TransferConfig(max_concurrency=4),
                )

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store a small object, whole or not at all, replacing what is there.

        Raises:
            StorageError: The bucket cannot be reached or refuses it.
        """
        with self._translated(key):
            self._client.put_object(
                Bucket=self.bucket,
                Key=self.prefix + key,
                Body=data,
                ContentMD5=base64.b64encode(
                    hashlib.md5(data, usedforsecurity=False).digest()
                ).decode(),
                Metadata={"sha256": hashlib.sha256(data).hexdigest()},
            )

    def get_bytes(self, key: str) -> bytes:
        """Read a small object.

        Raises:
            FileNotFoundError: It is not there.
            StorageError: The bucket cannot be reached or refuses the key.
        """
        return b"".join(self.chunks(key))

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object piece by piece, at most 1 MiB a piece.

        Raises:
            FileNotFoundError: It is not there.
            StorageError: The bucket cannot be reached, refuses the key or breaks off.
        """
        with self._translated(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(_CHUNK_BYTES)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """List the keys below a prefix, in the bucket's order.

        Raises:
            StorageError: The bucket cannot be reached or refuses the key.
        """
        pages = self._client.get_paginator("list_objects_v2")
        with self._translated(prefix or "the bucket"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix):
                for item in page.get("Contents", []):
                    yield str(item["Key"])[len(self.prefix) :]

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Turn the client's exceptions into ours, once, here."""
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _NOT_THERE:
                raise FileNotFoundError(key) from error
            raise self._explain(code, key, error) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise StorageError(
                f"{self!r} does not answer ({type(error).__name__} at {key})",
                expected="an S3 service",
                fix="Check backup.endpoint_url in city.toml and the network, and run again.",
            ) from error

    def _explain(self, code: str, key: str, error: ClientError) -> StorageError:
        if code in _REFUSED:
            return StorageError(
                f"{self!r} refused the access key ({code} at {key})",
                expected="a key that may read, write and list this bucket",
                fix="Check CITYSPLAT_S3_KEY_ID and CITYSPLAT_S3_SECRET.",
            )
        if code == "NoSuchBucket":
            return StorageError(
                f"{self!r} has no bucket {self.bucket!r}",
                expected="an existing bucket",
                fix="Make it, or correct backup.bucket in city.toml.",
            )
        message = error.response.get("Error", {}).get("Message", "")
        return StorageError(
            f"{self!r} answered {code} {message} at {key}",
            expected="success",
            fix="Run again; what was stored before is kept and not sent twice.",
        )


@dataclass(frozen=True, slots=True)
class _Digest:
    sha256: str
    md5: str  # base64, as the Content-MD5 header wants it


def _client_config(n_threads: int) -> Config:
    return Config(
        retries={"max_attempts": 8, "mode": "standard"},
        max_pool_connections=2 * n_threads,
        connect_timeout=10,
        read_timeout=120,
        s3={"addressing_style": "path"},
        # The client's newer default checksums are unknown to several S3-compatible services;
        # Content-MD5 and our own sha256 are understood by all.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _hash_file(path: Path) -> _Digest:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
    return _Digest(sha256.hexdigest(), base64.b64encode(md5.digest()).decode())

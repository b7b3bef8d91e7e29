#!/usr/bin/env python3
"""Drive an S3 endpoint with boto3 and the AWS CLI and print a transcript.

One line per step, `<step name>: <outcome>`, without times, request ids, upload
ids or other random values, so that the transcripts of two servers (or of two
runs with different prefixes) can be compared with diff.

    python conformance.py --endpoint URL --bucket NAME --prefix team/run1/ --aws PATH

Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if there is
one, AWS_SESSION_TOKEN; the region from AWS_REGION (us-east-1). The prefix
should hold nothing when the script starts; everything below it is deleted at
the end. Every object written is a Terraform state (`*.tfstate`, a JSON object,
whose serial rises with each write) or a lock file (`*.tfstate.tflock`).

A server that remembers the serials of deleted states can be given a higher
--serial (four digits, so that sizes stay the same) when a prefix is used again.

Only the hand-signed requests go past boto3: the aws-chunked
upload modes that boto3 uses over https only, and a few broken signatures.
"""
import argparse
import base64
import datetime
import functools
import hashlib
import hmac
import io
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import zlib

import boto3
import botocore
import botocore.exceptions
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.config import Config

MIB = 1024 * 1024
LINEAGE = "5a0c8f8e-2f6b-4b1f-9d6f-3c1de2a4b701"
LOCK_IDS = ("0b9f2c55-7f0e-4a39-8f0c-6a1d7a3c9e01", "0b9f2c55-7f0e-4a39-8f0c-6a1d7a3c9e02")
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
UTC = datetime.timezone.utc


# ---------------------------------------------------------------- checksums

def reflected_table(poly):
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ poly if i & 1 else i >> 1
        table.append(i)
    return table


CRC32C_TABLE = reflected_table(0x82F63B78)
CRC64NVME_TABLE = reflected_table(0x9A6C9329AC4BC9B5)


def reflected_crc(table, bits, data):
    ones = (1 << bits) - 1
    crc = ones
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ ones


@functools.lru_cache(maxsize=64)
def digest(algorithm, data):
    if algorithm == "CRC32":
        return zlib.crc32(data).to_bytes(4, "big")
    if algorithm == "CRC32C":
        return reflected_crc(CRC32C_TABLE, 32, data).to_bytes(4, "big")
    if algorithm == "CRC64NVME":
        return reflected_crc(CRC64NVME_TABLE, 64, data).to_bytes(8, "big")
    return hashlib.new(algorithm.lower(), data).digest()


def b64(raw):
    return base64.b64encode(raw).decode()


def md5(data):
    return hashlib.md5(data).hexdigest()


def same(a, b):
    return hashlib.sha256(a).digest() == hashlib.sha256(b).digest()


def cut(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]


# ---------------------------------------------------------------- the transcript

class Unmet(Exception):
    """An earlier step did not give what this one needs."""


def describe(exc):
    if isinstance(exc, Unmet):
        return f"not run, needs {exc}"
    if isinstance(exc, botocore.exceptions.ClientError):
        code = exc.response.get("Error", {}).get("Code", "-")
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "-")
        return f"{type(exc).__name__} {code} {status}"
    found = re.search(r"An error occurred \(([^)]*)\)", str(exc))
    return f"{type(exc).__name__} {found.group(1)}" if found else type(exc).__name__


class Transcript:
    def __init__(self, verbose):
        self.verbose = verbose
        self.lines = 0

    @staticmethod
    def line(text):
        try:
            print(text, flush=True)
        except BrokenPipeError:  # such as `| head`: still clean up
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def step(self, name, call, *args, **kwargs):
        """Run one step and print its line; gives what the step printed."""
        started = time.monotonic()
        try:
            outcome = call(*args, **kwargs)
        except Exception as exc:  # a step never ends the script
            outcome = describe(exc)
            if self.verbose:
                traceback.print_exc()
        outcome = re.sub(r"[\r\n]+", " ", str(outcome))
        self.line(f"{name}: {outcome}")
        self.lines += 1
        if self.verbose:
            print(f"  {name}: {time.monotonic() - started:.2f}s", file=sys.stderr, flush=True)
        return outcome


def js(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


class Door:
    """The endpoint under test and what the script knows of its contents."""

    def __init__(self, args):
        self.endpoint = args.endpoint.rstrip("/")
        self.bucket = args.bucket
        self.prefix = args.prefix
        self.aws = args.aws
        self.access = os.environ["AWS_ACCESS_KEY_ID"]
        self.secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        self.token = os.environ.get("AWS_SESSION_TOKEN") or None
        self.region = os.environ.get("AWS_REGION") or "us-east-1"
        self.serial = args.serial
        self.held = {}    # key -> the bytes of the last write that was accepted
        self.parts = {}   # key -> the parts of that write, if it was multipart
        self.work = tempfile.mkdtemp(prefix="conformance-")
        self.s3 = self.client()
        self.plain = self.client(request_checksum_calculation="when_required",
                                 response_checksum_validation="when_required")
        trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust), NoRedirect())

    def client(self, access=None, secret=None, token=None, region=None, **config):
        config.setdefault("signature_version", "s3v4")
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=region or self.region,
            aws_access_key_id=access or self.access,
            aws_secret_access_key=secret or self.secret,
            aws_session_token=token if access else self.token,
            config=Config(s3={"addressing_style": "path"}, proxies={},
                          retries={"total_max_attempts": 1}, connect_timeout=10,
                          read_timeout=60, **config))

    # -- bodies

    def state(self, size=None):
        """A Terraform state with the next serial, padded to size bytes."""
        self.serial += 1
        value = {"version": 4, "terraform_version": "1.11.4", "serial": self.serial,
                 "lineage": LINEAGE, "outputs": {}, "resources": []}
        if size is None:
            return js(value).encode()
        value["outputs"] = {"pad": {"value": "", "type": "string"}}
        missing = size - len(js(value))
        assert missing >= 0, "too small for a padded state"
        pad = random.Random(self.serial).randbytes(missing // 2 + 1).hex()[:missing]
        value["outputs"]["pad"]["value"] = pad
        body = js(value).encode()
        assert len(body) == size
        return body

    @staticmethod
    def lock(which):
        return js({"ID": LOCK_IDS[which], "Operation": "OperationTypeApply", "Info": "",
                   "Who": "a@b", "Version": "1.11.4", "Created": "2026-11-22T07:12:53Z",
                   "Path": "x"}).encode()

    # -- what the answers say

    def key(self, name):
        return self.prefix + name

    def rel(self, key):
        for prefix in (self.prefix, urllib.parse.quote(self.prefix, safe="/"),
                       urllib.parse.quote(self.prefix, safe="")):
            if key.startswith(prefix):
                return key[len(prefix):]
        return "(outside)" + key

    @staticmethod
    def status(resp):
        return str(resp["ResponseMetadata"]["HTTPStatusCode"])

    @staticmethod
    def etag(resp, body, parts=None):
        tag = resp.get("ETag")
        if not tag:
            return "etag=absent"
        quoted = "" if tag[:1] == '"' and tag[-1:] == '"' else "-unquoted"
        tag = tag.strip('"')
        if body is not None and tag == md5(body):
            return "etag=md5" + quoted
        if parts:
            joined = md5(b"".join(hashlib.md5(p).digest() for p in parts))
            if tag == f"{joined}-{len(parts)}":
                return f"etag=md5-of-parts-{len(parts)}" + quoted
        return "etag=other" + quoted

    @staticmethod
    def recent(resp):
        when = resp.get("LastModified")
        if when is None:
            return "modified=absent"
        off = abs((datetime.datetime.now(UTC) - when).total_seconds())
        return "modified=recent" if off < 600 else "modified=NOT-recent"

    @staticmethod
    def checksums(resp, body, parts=None):
        """The checksums of an answer: ok when they are those of the body."""
        seen = []
        for algorithm in ALGORITHMS:
            value = resp.get("Checksum" + algorithm)
            if not value:
                continue
            if len(body) > 12 * MIB and algorithm in ("CRC32C", "CRC64NVME"):
                verdict = "present"  # slow without a native library
            elif value == b64(digest(algorithm, body)):
                verdict = "ok"
            elif parts and value == "%s-%d" % (
                    b64(digest(algorithm, b"".join(digest(algorithm, p) for p in parts))), len(parts)):
                verdict = "ok-of-parts"
            else:
                verdict = "WRONG"
            seen.append(f"{algorithm}:{verdict}")
        kind = resp.get("ChecksumType")
        return "checksums=" + (",".join(seen) or "none") + (f" type={kind}" if kind else "")

    # -- single operations, as steps

    def put(self, name, body=None, client=None, **kwargs):
        key = self.key(name)
        body = self.state() if body is None else body
        resp = (client or self.s3).put_object(Bucket=self.bucket, Key=key, Body=body, **kwargs)
        self.held[key] = body
        self.parts.pop(key, None)
        version = " version=present" if resp.get("VersionId") else ""
        return f"{self.status(resp)} {self.etag(resp, body)} {self.checksums(resp, body)}{version}"

    def head(self, name, client=None, **kwargs):
        key = self.key(name)
        resp = (client or self.s3).head_object(Bucket=self.bucket, Key=key, **kwargs)
        body, parts = self.held.get(key, b""), self.parts.get(key)
        size = resp.get("ContentLength")
        right = "" if size == len(body) else " WRONG-SIZE"
        text = (f"{self.status(resp)} size={size}{right} {self.etag(resp, body, parts)} "
                f"{self.recent(resp)} ranges={resp.get('AcceptRanges')}")
        if kwargs.get("ChecksumMode"):
            text += " " + self.checksums(resp, body, parts)
        return text

    def get(self, name, part=slice(None), client=None, **kwargs):
        key = self.key(name)
        resp = (client or self.s3).get_object(Bucket=self.bucket, Key=key, **kwargs)
        data = resp["Body"].read()
        body, parts = self.held.get(key, b""), self.parts.get(key)
        text = (f"{self.status(resp)} size={resp.get('ContentLength')} "
                f"body={'same' if same(data, body[part]) else 'OTHER'} "
                f"{self.etag(resp, body, parts)} {self.recent(resp)}")
        if resp.get("ContentRange") or kwargs.get("Range"):
            text += f" range={resp.get('ContentRange')}"
        if kwargs.get("ChecksumMode"):
            text += " " + self.checksums(resp, body, parts)
        return text

    def delete(self, name):
        resp = self.s3.delete_object(Bucket=self.bucket, Key=self.key(name))
        self.held.pop(self.key(name), None)
        return self.status(resp)

    def listed(self, resp):
        return [self.rel(entry["Key"]) for entry in resp.get("Contents", [])]

    def listing(self, resp, encoding=None):
        count = f" KeyCount={resp['KeyCount']}" if "KeyCount" in resp else ""
        prefixes = [self.rel(p["Prefix"]) for p in resp.get("CommonPrefixes", [])]
        text = (f"{self.status(resp)}{count} keys={js(self.listed(resp))} prefixes={js(prefixes)} "
                f"truncated={resp.get('IsTruncated')}")
        return text + (f" encoding={resp.get('EncodingType')}" if encoding else "")

    def list2(self, under="", **kwargs):
        return self.listing(self.s3.list_objects_v2(
            Bucket=self.bucket, Prefix=self.key(under), **kwargs), kwargs.get("EncodingType"))

    def list1(self, under="", **kwargs):
        return self.listing(self.s3.list_objects(
            Bucket=self.bucket, Prefix=self.key(under), **kwargs), kwargs.get("EncodingType"))

    def page(self, resp):
        prefixes = [self.rel(p["Prefix"]) for p in resp.get("CommonPrefixes", [])]
        count = f"{resp['KeyCount']}:" if "KeyCount" in resp else ""
        return count + js(self.listed(resp)) + ("+" + js(prefixes) if prefixes else "")

    def pages2(self, under, **kwargs):
        pages = []
        while len(pages) < 40:
            resp = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.key(under), **kwargs)
            pages.append(self.page(resp))
            if not resp.get("IsTruncated"):
                return " | ".join(pages)
            if not resp.get("NextContinuationToken"):
                return " | ".join(pages + ["NO-TOKEN"])
            kwargs["ContinuationToken"] = resp["NextContinuationToken"]
        return " | ".join(pages + ["NO-END"])

    def pages1(self, under, **kwargs):
        pages, named = [], []
        while len(pages) < 40:
            resp = self.s3.list_objects(Bucket=self.bucket, Prefix=self.key(under), **kwargs)
            pages.append(self.page(resp))
            if not resp.get("IsTruncated"):
                return " | ".join(pages) + " next-markers=" + js(named)
            marker = resp.get("NextMarker")
            named.append(self.rel(marker) if marker else None)
            if not marker:
                contents = resp.get("Contents")
                if not contents:
                    return " | ".join(pages + ["NO-MARKER"])
                marker = contents[-1]["Key"]
            kwargs["Marker"] = marker
        return " | ".join(pages + ["NO-END"])

    # -- plain HTTP

    def http(self, method, url, body=None, headers=None):
        """Send one request; gives status, error code or '-', headers, body."""
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, "-", answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            data = answer.read()
            found = re.search(rb"<Code>([^<]*)</Code>", data)
            code = found.group(1).decode() if found else ("-" if not data else "no-code")
            return answer.code, code, answer.headers, data

    def signed(self, method, name, body=b"", mode="SIGNED", headers=None, chunk=65536,
               wrong=None, skew=0, region=None):
        """A hand-signed request (Signature Version 4).

        mode is SIGNED, UNSIGNED-PAYLOAD or one of the aws-chunked modes;
        wrong names what to spoil: payload, chunk, trailer, checksum.
        """
        url = urllib.parse.urlsplit(self.endpoint)
        path = urllib.parse.quote(f"{url.path}/{self.bucket}/{self.key(name)}", safe="/-_.~")
        when = datetime.datetime.now(UTC) + datetime.timedelta(seconds=skew)
        stamp = when.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{region or self.region}/s3/aws4_request"
        streaming = mode.startswith("STREAMING-")
        trailer = mode.endswith("-TRAILER")
        send = {"host": url.netloc, "x-amz-date": stamp, "x-amz-content-sha256": mode}
        if mode == "SIGNED":
            claimed = b"another body" if wrong == "payload" else body
            send["x-amz-content-sha256"] = hashlib.sha256(claimed).hexdigest()
        if streaming:
            send["content-encoding"] = "aws-chunked"
            send["x-amz-decoded-content-length"] = str(len(body))
        if trailer:
            send["x-amz-trailer"] = "x-amz-checksum-crc32"
        if self.token:
            send["x-amz-security-token"] = self.token
        send.update(headers or {})

        secret = ("AWS4" + self.secret).encode()
        for piece in scope.split("/"):
            secret = hmac.new(secret, piece.encode(), hashlib.sha256).digest()

        def sign(*lines):
            return hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()

        names = sorted(send)
        canonical = "\n".join([method, path, ""] + [f"{n}:{send[n]}" for n in names]
                              + ["", ";".join(names), send["x-amz-content-sha256"]])
        signature = sign("AWS4-HMAC-SHA256", stamp, scope,
                         hashlib.sha256(canonical.encode()).hexdigest())
        send["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, "
                                 f"SignedHeaders={';'.join(names)}, Signature={signature}")
        data = body
        if streaming:
            with_signatures = "HMAC" in mode
            empty = hashlib.sha256(b"").hexdigest()
            previous, out = signature, []
            for piece in cut(body, chunk) + [b""]:
                line = f"{len(piece):x}"
                if with_signatures:
                    previous = sign("AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, empty,
                                    hashlib.sha256(piece).hexdigest())
                    shown = previous
                    if wrong == "chunk" and piece:
                        shown = "0" * 64
                    line += ";chunk-signature=" + shown
                out.append(line.encode() + b"\r\n" + (piece + b"\r\n" if piece else b""))
            if trailer:
                crc = b64(digest("CRC32", b"another body" if wrong == "checksum" else body))
                field = f"x-amz-checksum-crc32:{crc}"
                out.append(field.encode() + b"\r\n")
                if with_signatures:
                    last = sign("AWS4-HMAC-SHA256-TRAILER", stamp, scope, previous,
                                hashlib.sha256((field + "\n").encode()).hexdigest())
                    if wrong == "trailer":
                        last = "0" * 64
                    out.append(f"x-amz-trailer-signature:{last}\r\n".encode())
            out.append(b"\r\n")
            data = b"".join(out)
        send.pop("host")
        answer = self.http(method, f"{url.scheme}://{url.netloc}{path}",
                           data if method == "PUT" else None, send)
        if method == "PUT" and answer[0] == 200:
            self.held[self.key(name)] = body
            self.parts.pop(self.key(name), None)
        return answer

    # -- the AWS CLI

    def cli_setup(self):
        config = os.path.join(self.work, "aws-config")
        with open(config, "w") as out:
            out.write("[default]\nregion = %s\noutput = json\ns3 =\n"
                      "    addressing_style = path\n    signature_version = s3v4\n" % self.region)
        keep = {k: v for k, v in os.environ.items()
                if not k.lower().endswith("_proxy") and not k.startswith("PYTHON")
                and k not in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "VIRTUAL_ENV")}
        keep.update(AWS_CONFIG_FILE=config, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
                    AWS_REGION=self.region, AWS_DEFAULT_REGION=self.region,
                    AWS_DEFAULT_OUTPUT="json", AWS_PAGER="", AWS_MAX_ATTEMPTS="1",
                    AWS_EC2_METADATA_DISABLED="true", LC_ALL="C.UTF-8",
                    PYTHONWARNINGS="ignore", COLUMNS="200")
        self.cli_env = keep
        self.here = os.path.join(self.work, "files")
        os.makedirs(self.here, exist_ok=True)

    def cli(self, *words, stdin=None):
        """One CLI run: exit code, stdout, stderr and the text `exit N (Code)`."""
        done = subprocess.run([self.aws, "--endpoint-url", self.endpoint, *words],
                              env=self.cli_env, cwd=self.here, timeout=180,
                              input=stdin if stdin is not None else b"",
                              capture_output=True)
        err = done.stderr.decode("utf-8", "replace")
        text = f"exit {done.returncode}"
        if done.returncode:
            codes = sorted(set(re.findall(r"error occurred \(([^)]*)\)", err)))
            text += " " + (" ".join(f"({c})" for c in codes) or "(no code)")
        return done.returncode, done.stdout, err, text

    def uri(self, name=""):
        return f"s3://{self.bucket}/{self.key(name)}"

    def tidy(self, stdout):
        """The lines the CLI printed, sorted, with the prefix taken out."""
        text = stdout.decode("utf-8", "replace").replace(f"s3://{self.bucket}/{self.prefix}", "s3:")
        return js(sorted(line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()))

    def file(self, name, body, age=None):
        path = os.path.join(self.here, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(body)
        if age is not None:
            when = time.time() - age
            os.utime(path, (when, when))
        return path

    def tree(self, folder):
        found = {}
        top = os.path.join(self.here, folder)
        for base, _, names in os.walk(top):
            for name in names:
                path = os.path.join(base, name)
                with open(path, "rb") as src:
                    found[os.path.relpath(path, top)] = src.read()
        return found


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


class Stream(io.RawIOBase):
    """A body that can be read once and not sought."""

    def __init__(self, data):
        self.source = io.BytesIO(data)

    def readable(self):
        return True

    def seekable(self):
        return False

    def readinto(self, buffer):
        return self.source.readinto(buffer)


# ---------------------------------------------------------------- the steps

def bucket_steps(t, d):
    def head_bucket(bucket):
        resp = d.s3.head_bucket(Bucket=bucket)
        request_id = "present" if resp["ResponseMetadata"]["HTTPHeaders"].get("x-amz-request-id") else "absent"
        return f"{d.status(resp)} region={resp.get('BucketRegion')} request-id={request_id}"

    def location():
        resp = d.s3.get_bucket_location(Bucket=d.bucket)
        return f"{d.status(resp)} location={resp.get('LocationConstraint')}"

    def create():
        return d.status(d.s3.create_bucket(Bucket=d.bucket))

    def list_buckets():
        resp = d.s3.list_buckets()
        names = [b["Name"] for b in resp.get("Buckets", [])]
        return f"{d.status(resp)} has-bucket={d.bucket in names}"

    missing = d.bucket + "-missing-0"
    t.step("bucket head", head_bucket, d.bucket)
    t.step("bucket head missing", head_bucket, missing)
    t.step("bucket location", location)
    t.step("bucket create existing", create)
    t.step("bucket list", list_buckets)
    t.step("bucket missing get_object", lambda: d.s3.get_object(Bucket=missing, Key="a.tfstate"))
    t.step("bucket missing list_objects_v2", lambda: d.s3.list_objects_v2(Bucket=missing))
    t.step("empty list_objects_v2", d.list2)
    t.step("empty list_objects", d.list1)
    t.step("empty list_objects_v2 delimiter", d.list2, Delimiter="/")
    t.step("empty list_multipart_uploads", lambda: uploads(d, ""))


def object_steps(t, d):
    k = "basic/one.tfstate"
    t.step("missing head", d.head, k)
    t.step("missing get", d.get, k)
    t.step("missing get range", d.get, k, Range="bytes=0-9")
    t.step("missing get if-match", d.get, k, IfMatch='"0123456789abcdef0123456789abcdef"')
    t.step("missing delete", d.delete, k)
    t.step("put new", d.put, k)
    t.step("head", d.head, k)
    t.step("head checksum-mode", d.head, k, ChecksumMode="ENABLED")
    t.step("get", d.get, k)
    t.step("get checksum-mode", d.get, k, ChecksumMode="ENABLED")
    t.step("put again", d.put, k)
    t.step("get again", d.get, k)
    t.step("put without checksum", d.put, k, client=d.plain)
    t.step("get without checksum", d.get, k, client=d.plain)
    t.step("get checksum-mode after put without checksum", d.get, k, ChecksumMode="ENABLED")

    def typed():
        line = d.put(k, ContentType="application/json")
        resp = d.s3.get_object(Bucket=d.bucket, Key=d.key(k))
        resp["Body"].read()
        return f"{line} then type={resp.get('ContentType')} encoding={resp.get('ContentEncoding')}"

    def untyped():
        line = d.put("basic/untyped.tfstate")
        resp = d.s3.head_object(Bucket=d.bucket, Key=d.key("basic/untyped.tfstate"))
        return f"{line} then type={resp.get('ContentType')} encoding={resp.get('ContentEncoding')}"

    t.step("put content-type", typed)
    t.step("put no content-type", untyped)

    size = len(d.held.get(d.key(k), b""))
    t.step("range 0-9", d.get, k, slice(0, 10), Range="bytes=0-9")
    t.step("range 0-0", d.get, k, slice(0, 1), Range="bytes=0-0")
    t.step("range last 5", d.get, k, slice(-5, None), Range="bytes=-5")
    t.step("range from 5", d.get, k, slice(5, None), Range="bytes=5-")
    t.step("range longer than the object", d.get, k, Range="bytes=0-5242879")
    t.step("range suffix longer than the object", d.get, k, Range="bytes=-100000")
    t.step("range ends past the end", d.get, k, slice(size - 3, None), Range=f"bytes={size - 3}-{size + 50}")
    t.step("range starts at the end", d.get, k, Range=f"bytes={size}-")
    t.step("range past the end", d.get, k, Range="bytes=100000-100010")
    t.step("range suffix 0", d.get, k, Range="bytes=-0")
    t.step("range head 0-9", lambda: ranged_head(d, k))


def ranged_head(d, name):
    resp = d.s3.head_object(Bucket=d.bucket, Key=d.key(name), Range="bytes=0-9")
    return f"{d.status(resp)} size={resp.get('ContentLength')} range={resp.get('ContentRange')}"


def real_etag(d, name):
    return d.s3.head_object(Bucket=d.bucket, Key=d.key(name))["ETag"]


WRONG_ETAG = '"00000000000000000000000000000000"'


def condition_steps(t, d):
    k = "cond/one.tfstate"
    t.step("cond put if-none-match * new", d.put, k, IfNoneMatch="*")
    t.step("cond put if-none-match * existing", d.put, k, IfNoneMatch="*")
    t.step("cond get after refused put", d.get, k)
    now = datetime.datetime.now(UTC)
    day = datetime.timedelta(days=1)

    for verb, call in (("get", d.get), ("head", d.head)):
        t.step(f"cond {verb} if-match right", lambda: call(k, IfMatch=real_etag(d, k)))
        t.step(f"cond {verb} if-match right unquoted",
               lambda: call(k, IfMatch=real_etag(d, k).strip('"')))
        t.step(f"cond {verb} if-match *", call, k, IfMatch="*")
        t.step(f"cond {verb} if-match wrong", call, k, IfMatch=WRONG_ETAG)
        t.step(f"cond {verb} if-none-match right", lambda: call(k, IfNoneMatch=real_etag(d, k)))
        t.step(f"cond {verb} if-none-match wrong", call, k, IfNoneMatch=WRONG_ETAG)
        t.step(f"cond {verb} if-modified-since future", call, k, IfModifiedSince=now + day)
        t.step(f"cond {verb} if-modified-since past", call, k, IfModifiedSince=now - day)
        t.step(f"cond {verb} if-modified-since last-modified", lambda: call(
            k, IfModifiedSince=d.s3.head_object(Bucket=d.bucket, Key=d.key(k))["LastModified"]))
        t.step(f"cond {verb} if-unmodified-since past", call, k, IfUnmodifiedSince=now - day)
        t.step(f"cond {verb} if-unmodified-since future", call, k, IfUnmodifiedSince=now + day)
    t.step("cond get if-match right, if-unmodified-since past",
           lambda: d.get(k, IfMatch=real_etag(d, k), IfUnmodifiedSince=now - day))
    t.step("cond get if-none-match right, if-modified-since past",
           lambda: d.get(k, IfNoneMatch=real_etag(d, k), IfModifiedSince=now - day))
    t.step("cond get range if-match right", lambda: d.get(
        k, slice(0, 10), Range="bytes=0-9", IfMatch=real_etag(d, k)))
    t.step("cond get range if-match wrong", d.get, k, Range="bytes=0-9", IfMatch=WRONG_ETAG)

    t.step("cond put if-match right", lambda: d.put(k, IfMatch=real_etag(d, k)))
    t.step("cond put if-match wrong", d.put, k, IfMatch=WRONG_ETAG)
    t.step("cond put if-match wrong, get", d.get, k)

    def stale():
        old = real_etag(d, k)
        d.put(k)
        return d.put(k, IfMatch=old)

    t.step("cond put if-match stale", stale)
    t.step("cond put if-match stale, get", d.get, k)
    t.step("cond put if-match missing key", d.put, "cond/none.tfstate", IfMatch=WRONG_ETAG)


def checksum_steps(t, d):
    def algorithm(name, alg):
        try:
            return d.put(name, ChecksumAlgorithm=alg)
        except (botocore.exceptions.MissingDependencyException,
                botocore.exceptions.FlexibleChecksumError):
            return "skipped"

    for alg in ALGORITHMS:
        k = f"sum/{alg.lower()}.tfstate"
        made = t.step(f"checksum {alg} put by algorithm", algorithm, k, alg)
        t.step(f"checksum {alg} by algorithm, head",
               lambda: "skipped" if made == "skipped" else d.head(k, ChecksumMode="ENABLED"))

        def given():
            body = d.state()
            return d.put(k, body, **{"Checksum" + alg: b64(digest(alg, body))})

        t.step(f"checksum {alg} put with right value", given)
        t.step(f"checksum {alg} head", d.head, k, ChecksumMode="ENABLED")
        t.step(f"checksum {alg} get", d.get, k, client=d.plain, ChecksumMode="ENABLED")
        t.step(f"checksum {alg} put with wrong value",
               lambda: d.put(k, **{"Checksum" + alg: b64(digest(alg, b"another body"))}))
        t.step(f"checksum {alg} put with malformed value",
               lambda: d.put(k, **{"Checksum" + alg: "AAA="}))
        t.step(f"checksum {alg} after refused puts, get", d.get, k, client=d.plain)

    k = "sum/md5.tfstate"
    t.step("content-md5 put wrong new",
           lambda: d.put(k, client=d.plain, ContentMD5=b64(hashlib.md5(b"another body").digest())))
    t.step("content-md5 put wrong, get", d.get, k)

    def right(client):
        body = d.state()
        return d.put(k, body, client=client, ContentMD5=b64(hashlib.md5(body).digest()))

    t.step("content-md5 put right", right, d.plain)
    t.step("content-md5 put right with checksum", right, d.s3)
    t.step("content-md5 put malformed", lambda: d.put(k, client=d.plain, ContentMD5="not-an-md5"))
    t.step("content-md5 put wrong existing",
           lambda: d.put(k, client=d.plain, ContentMD5=b64(hashlib.md5(b"another body").digest())))
    t.step("content-md5 get", d.get, k)


def streaming_steps(t, d):
    k = "stream/one.tfstate"

    # boto3 uses the trailer over https only: ask for it here in any case.
    client = d.client()

    def trailer(params, **_):
        params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"

    client.meta.events.register("before-call.s3.PutObject", trailer)

    def unseekable():
        body = d.state(100000)
        key = d.key("stream/pipe.tfstate")
        try:
            resp = client.put_object(Bucket=d.bucket, Key=key, Body=Stream(body),
                                     ContentLength=len(body), ChecksumAlgorithm="CRC32")
        except botocore.exceptions.ClientError:
            raise
        except Exception:
            return "skipped"  # this boto3 cannot
        d.held[key] = body
        return f"{d.status(resp)} {d.etag(resp, body)} {d.checksums(resp, body)}"

    t.step("stream boto3 put without seek", unseekable)
    t.step("stream boto3 get without seek", d.get, "stream/pipe.tfstate")
    t.step("stream boto3 put seekable file", lambda: seekable(d, "stream/file.tfstate"))
    t.step("stream boto3 get seekable file", d.get, "stream/file.tfstate")
    t.step("stream boto3 put with trailer",
           lambda: d.put(k, d.state(100000), client=client, ChecksumAlgorithm="CRC32"))
    t.step("stream boto3 get after trailer", d.get, k, ChecksumMode="ENABLED")

    def encoding():
        resp = d.s3.head_object(Bucket=d.bucket, Key=d.key(k))
        return f"{d.status(resp)} encoding={resp.get('ContentEncoding') or None}"

    t.step("stream content-encoding after trailer", encoding)

    def raw(name, mode, **kwargs):
        body = d.state(150000)
        status, code, headers, _ = d.signed("PUT", name, body, mode, **kwargs)
        if status != 200:
            return f"{status} {code}"
        return f"{status} {d.etag({'ETag': headers.get('ETag')}, body)}"

    k = "stream/raw.tfstate"
    t.step("raw put signed payload", raw, k, "SIGNED")
    t.step("raw put unsigned payload", raw, k, "UNSIGNED-PAYLOAD")
    t.step("raw get", d.get, k)
    modes = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
             "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    for mode in modes:
        t.step(f"raw put {mode}", raw, k, mode)
        t.step(f"raw put {mode}, get", d.get, k)
        if mode.endswith("-TRAILER"):
            t.step(f"raw put {mode}, head", d.head, k, ChecksumMode="ENABLED")
    t.step("raw put payload hash of another body", raw, k, "SIGNED", wrong="payload")
    t.step("raw put wrong chunk signature", raw, k, modes[0], wrong="chunk")
    t.step("raw put wrong trailer signature", raw, k, modes[1], wrong="trailer")
    t.step("raw put signed chunks, wrong trailer checksum", raw, k, modes[1], wrong="checksum")
    t.step("raw put unsigned chunks, wrong trailer checksum", raw, k, modes[2], wrong="checksum")
    t.step("raw after refused puts, get", d.get, k)


def seekable(d, name):
    key, body = d.key(name), d.state(100000)
    with open(os.path.join(d.work, "seekable"), "w+b") as src:
        src.write(body)
        src.seek(0)
        resp = d.s3.put_object(Bucket=d.bucket, Key=key, Body=src)
    d.held[key] = body
    return f"{d.status(resp)} {d.etag(resp, body)} {d.checksums(resp, body)}"


ODD_KEYS = ("odd/with space.tfstate", "odd/with  two  spaces.tfstate", "odd/plus+plus.tfstate",
            "odd/\u00fcn\u00efc\u00f6de-\u2713-\u65e5\u672c-\U0001f600.tfstate",
            "odd/env:/dev/app.tfstate", "odd/100%41%2F.tfstate", "odd/amp&lt<gt>quote'\".tfstate",
            "odd/a=b,c;d@e$f!(g)*~_.tfstate", "odd/que?ry#hash.tfstate", "odd/.hidden.tfstate")


def odd_key_steps(t, d):
    for k in ODD_KEYS:
        shown = js(k[4:])
        t.step(f"key {shown} put", d.put, k)
        t.step(f"key {shown} head", d.head, k)
        t.step(f"key {shown} get", d.get, k)
        t.step(f"key {shown} list", d.list2, k)
    t.step("keys list_objects_v2", d.list2, "odd/")
    t.step("keys list_objects_v2 encoding-type url", d.list2, "odd/", EncodingType="url")
    t.step("keys list_objects encoding-type url", d.list1, "odd/", EncodingType="url")
    t.step("keys list_objects_v2 delimiter", d.list2, "odd/", Delimiter="/")
    t.step("keys list_objects_v2 delimiter encoding-type url", d.list2, "odd/", Delimiter="/",
           EncodingType="url")
    t.step("keys paged", d.pages2, "odd/", MaxKeys=3)
    t.step("keys paged v1", d.pages1, "odd/", MaxKeys=3)
    for k in ODD_KEYS:
        t.step(f"key {js(k[4:])} delete", d.delete, k)
    t.step("keys after delete", d.list2, "odd/")


LIST_KEYS = ("a-b.tfstate", "a.tfstate", "a/b.tfstate", "a/c.tfstate", "B.tfstate", "d.tfstate",
             "d.tfstate.tflock", "e/x/deep.tfstate", "e/y.tfstate", "s p/a+b.tfstate",
             "z\u00e9.tfstate")


def list_steps(t, d):
    def fill():
        done = 0
        for k in LIST_KEYS:
            key = "list/" + k
            d.put(key, d.lock(0) if k.endswith(".tflock") else d.state(200 + 10 * done))
            done += 1
        return f"{done} keys"

    def entry(method):
        resp = getattr(d.s3, method)(Bucket=d.bucket, Prefix=d.key("list/a.tfstate"))
        out = []
        for c in resp.get("Contents", []):
            body = d.held.get(c["Key"], b"")
            out.append(f"{d.rel(c['Key'])} size={c.get('Size')} {d.etag(c, body)} {d.recent(c)} "
                       f"class={c.get('StorageClass')}")
        return f"{d.status(resp)} {' | '.join(out)}"

    def echo(**kwargs):
        resp = d.s3.list_objects_v2(Bucket=d.bucket, Prefix=d.key("list/"), **kwargs)
        return (f"{d.status(resp)} name={'right' if resp.get('Name') == d.bucket else 'WRONG'} "
                f"prefix={'right' if resp.get('Prefix') == d.key('list/') else 'WRONG'} "
                f"MaxKeys={resp.get('MaxKeys')} Delimiter={resp.get('Delimiter')} "
                f"StartAfter={d.rel(resp['StartAfter']) if resp.get('StartAfter') else None} "
                f"token={'present' if resp.get('NextContinuationToken') else 'absent'}")

    t.step("list fill", fill)
    t.step("list entry v2", entry, "list_objects_v2")
    t.step("list entry v1", entry, "list_objects")
    t.step("list echo", echo)
    t.step("list echo with arguments", lambda: echo(
        MaxKeys=3, Delimiter="/", StartAfter=d.key("list/B.tfstate")))
    t.step("list v2", d.list2, "list/")
    t.step("list v1", d.list1, "list/")
    t.step("list v2 delimiter", d.list2, "list/", Delimiter="/")
    t.step("list v1 delimiter", d.list1, "list/", Delimiter="/")
    t.step("list v2 prefix without slash", d.list2, "list/a")
    t.step("list v2 prefix without slash, delimiter", d.list2, "list/a", Delimiter="/")
    t.step("list v2 prefix of a folder, delimiter, no slash", d.list2, "list/e", Delimiter="/")
    t.step("list v2 prefix of a whole key", d.list2, "list/d.tfstate")
    t.step("list v2 prefix matches nothing", d.list2, "list/nothing")
    t.step("list v2 delimiter of two letters", d.list2, "list/", Delimiter=".t")
    t.step("list v2 encoding-type url", d.list2, "list/s", EncodingType="url")
    t.step("list v1 encoding-type url, delimiter", d.list1, "list/", EncodingType="url", Delimiter="/")
    t.step("list v2 max-keys 0", d.list2, "list/", MaxKeys=0)
    t.step("list v2 max-keys 1", d.list2, "list/", MaxKeys=1)
    t.step("list v2 max-keys as many as there are", d.list2, "list/", MaxKeys=len(LIST_KEYS))
    t.step("list v2 max-keys -1", d.list2, "list/", MaxKeys=-1)
    t.step("list v2 pages of 2", d.pages2, "list/", MaxKeys=2)
    t.step("list v2 pages of 2, delimiter", d.pages2, "list/", MaxKeys=2, Delimiter="/")
    t.step("list v2 pages of 1, delimiter", d.pages2, "list/", MaxKeys=1, Delimiter="/")
    t.step("list v1 pages of 2", d.pages1, "list/", MaxKeys=2)
    t.step("list v1 pages of 2, delimiter", d.pages1, "list/", MaxKeys=2, Delimiter="/")
    t.step("list v1 pages of 1, delimiter", d.pages1, "list/", MaxKeys=1, Delimiter="/")
    t.step("list v2 start-after", d.list2, "list/", StartAfter=d.key("list/a/b.tfstate"))
    t.step("list v2 start-after a name that is no key", d.list2, "list/", StartAfter=d.key("list/c"))
    t.step("list v2 start-after, pages of 2", d.pages2, "list/", MaxKeys=2,
           StartAfter=d.key("list/a.tfstate"))
    t.step("list v2 start-after inside a folder, delimiter", d.list2, "list/", Delimiter="/",
           StartAfter=d.key("list/a/b.tfstate"))
    t.step("list v2 start-after the last", d.list2, "list/", StartAfter=d.key("list/z\u00e9.tfstate"))
    t.step("list v1 marker", d.list1, "list/", Marker=d.key("list/a/b.tfstate"))
    t.step("list v1 marker a folder, delimiter", d.list1, "list/", Delimiter="/",
           Marker=d.key("list/a/"))
    # One that sorts before every key, for servers that take it for a key.
    t.step("list v2 unknown continuation-token", d.list2, "list/", ContinuationToken="!not a token")
    t.step("list v2 unknown encoding-type", d.list2, "list/", EncodingType="base64")

    def paginator():
        keys = []
        for page in d.s3.get_paginator("list_objects_v2").paginate(
                Bucket=d.bucket, Prefix=d.key("list/"), PaginationConfig={"PageSize": 3}):
            keys += d.listed(page)
        return f"{len(keys)} keys, {'sorted' if keys == sorted(keys, key=str.encode) else 'NOT sorted'}"

    t.step("list paginator", paginator)


def lock_steps(t, d):
    k, lock = "lock/app.tfstate", "lock/app.tfstate.tflock"
    t.step("lock state put", d.put, k)
    t.step("lock get none", d.get, lock)
    t.step("lock put", d.put, lock, d.lock(0), IfNoneMatch="*", ContentType="application/json")
    t.step("lock put same bytes again", d.put, lock, d.lock(0), IfNoneMatch="*")
    t.step("lock put other bytes", d.put, lock, d.lock(1), IfNoneMatch="*")
    t.step("lock put other bytes, get", d.get, lock)
    t.step("lock head", d.head, lock)
    t.step("lock list", d.list2, "lock/")
    t.step("lock state put while locked", d.put, k)
    t.step("lock state get while locked", d.get, k)
    t.step("lock delete", d.delete, lock)
    t.step("lock get after delete", d.get, lock)
    t.step("lock head after delete", d.head, lock)
    t.step("lock delete again", d.delete, lock)
    t.step("lock put by another", d.put, lock, d.lock(1), IfNoneMatch="*")
    t.step("lock get by another", d.get, lock)
    t.step("lock delete by another", d.delete, lock)
    t.step("lock put without checksum", d.put, lock, d.lock(0), client=d.plain, IfNoneMatch="*")
    t.step("lock put without checksum, other bytes", d.put, lock, d.lock(1), client=d.plain,
           IfNoneMatch="*")
    t.step("lock delete at the end", d.delete, lock)
    t.step("lock list at the end", d.list2, "lock/")


def delete_steps(t, d):
    def fill():
        for n in "abcdef":
            d.put(f"del/{n}.tfstate")
        return "6 keys"

    def several(names, quiet=None, client=None, **kwargs):
        request = {"Objects": [{"Key": d.key(n)} for n in names]}
        if quiet is not None:
            request["Quiet"] = quiet
        resp = (client or d.s3).delete_objects(Bucket=d.bucket, Delete=request, **kwargs)
        gone = sorted(d.rel(x["Key"]) for x in resp.get("Deleted", []))
        errors = sorted(f"{d.rel(x.get('Key', ''))}={x.get('Code')}" for x in resp.get("Errors", []))
        return f"{d.status(resp)} deleted={js(gone)} errors={js(errors)}"

    def by_md5(names, right):
        """As clients before the flexible checksums send it: Content-MD5 only."""
        client = d.client()

        def header(params, **_):
            raw = hashlib.md5(params["body"] if right else b"another body").digest()
            params["headers"]["Content-MD5"] = b64(raw)
            params["context"].pop("checksum", None)

        client.meta.events.register("before-call.s3.DeleteObjects", header)
        return several(names, client=client)

    def many(count):
        line = several([f"del/many{n}.tfstate" for n in range(count)])
        return re.sub(r"deleted=(\[.*?\]) ", lambda m: f"deleted={len(json.loads(m[1]))} ", line)

    t.step("delete fill", fill)
    t.step("delete existing", d.delete, "del/a.tfstate")
    t.step("delete existing, get", d.get, "del/a.tfstate")
    t.step("delete missing", d.delete, "del/a.tfstate")
    t.step("delete never there", d.delete, "del/never/there.tfstate")
    t.step("delete_objects two and one missing", several,
           ["del/b.tfstate", "del/c.tfstate", "del/nothing.tfstate"])
    t.step("delete_objects two and one missing, list", d.list2, "del/")
    t.step("delete_objects quiet", several,
           ["del/d.tfstate", "del/e.tfstate", "del/nothing.tfstate"], True)
    t.step("delete_objects quiet, list", d.list2, "del/")
    t.step("delete_objects not quiet, all missing", several,
           ["del/nothing.tfstate", "del/nothing2.tfstate"], False)
    t.step("delete_objects none", several, [])
    t.step("delete_objects 1000 missing", many, 1000)
    t.step("delete_objects 1001 missing", many, 1001)
    t.step("delete_objects wrong content-md5", by_md5, ["del/f.tfstate"], False)
    t.step("delete_objects wrong content-md5, list", d.list2, "del/")
    t.step("delete_objects right content-md5", by_md5, ["del/f.tfstate"], True)
    t.step("delete_objects right content-md5, list", d.list2, "del/")
    t.step("delete put again", d.put, "del/f.tfstate")
    t.step("delete_objects sha256", several, ["del/f.tfstate"], ChecksumAlgorithm="SHA256")
    t.step("delete_objects sha256, list", d.list2, "del/")


def uploads(d, under, **kwargs):
    resp = d.s3.list_multipart_uploads(Bucket=d.bucket, Prefix=d.key(under), **kwargs)
    found = resp.get("Uploads", [])
    prefixes = [d.rel(p["Prefix"]) for p in resp.get("CommonPrefixes", [])]
    ids = all(u.get("UploadId") for u in found)
    return (f"{d.status(resp)} count={len(found)} keys={js([d.rel(u['Key']) for u in found])}"
            + (f" prefixes={js(prefixes)}" if prefixes else "")
            + f" ids={'present' if ids else 'ABSENT'} truncated={resp.get('IsTruncated')}")


class Upload:
    """One multipart upload, driven step by step."""

    def __init__(self, d, name, client=None):
        self.d, self.name, self.key = d, name, d.key(name)
        self.s3 = client or d.s3
        self.id = None
        self.sent = {}   # number -> (etag, bytes)

    def where(self):
        if not self.id:
            raise Unmet("the upload")
        return {"Bucket": self.d.bucket, "Key": self.key, "UploadId": self.id}

    def create(self, **kwargs):
        resp = self.s3.create_multipart_upload(Bucket=self.d.bucket, Key=self.key, **kwargs)
        self.id = resp.get("UploadId")
        right = resp.get("Bucket") == self.d.bucket and resp.get("Key") == self.key
        return (f"{self.d.status(resp)} id={'present' if self.id else 'absent'} "
                f"names={'right' if right else 'WRONG'} algorithm={resp.get('ChecksumAlgorithm')} "
                f"type={resp.get('ChecksumType')}")

    def part(self, number, body, **kwargs):
        resp = self.s3.upload_part(**self.where(), PartNumber=number, Body=body, **kwargs)
        self.sent[number] = (resp.get("ETag"), body)
        return f"{self.d.status(resp)} {self.d.etag(resp, body)} {self.d.checksums(resp, body)}"

    def listed(self, **kwargs):
        resp = self.s3.list_parts(**self.where(), **kwargs)
        parts = [(p.get("PartNumber"), p.get("Size"),
                  self.d.etag(p, self.sent.get(p.get("PartNumber"), (None, None))[1])[5:])
                 for p in resp.get("Parts", [])]
        recent = all(self.d.recent(p) == "modified=recent" for p in resp.get("Parts", []))
        return (f"{self.d.status(resp)} parts={js(parts)} modified={'recent' if recent else 'NOT-recent'} "
                f"truncated={resp.get('IsTruncated')} class={resp.get('StorageClass')}")

    def paged(self, size):
        marker, pages = None, []
        while len(pages) < 20:
            extra = {} if marker is None else {"PartNumberMarker": marker}
            resp = self.s3.list_parts(**self.where(), MaxParts=size, **extra)
            pages.append(js([p.get("PartNumber") for p in resp.get("Parts", [])]))
            if not resp.get("IsTruncated"):
                return " | ".join(pages)
            marker = resp.get("NextPartNumberMarker")
            pages[-1] += f" next={marker}"
        return " | ".join(pages + ["NO-END"])

    def complete(self, order=None, etags=None, **kwargs):
        where = self.where()
        order = sorted(self.sent) if order is None else order
        parts = []
        for n in order:
            tag = (etags or {}).get(n) or self.sent.get(n, (WRONG_ETAG, b""))[0]
            parts.append({"PartNumber": n, "ETag": tag})
        resp = self.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **kwargs)
        pieces = [self.sent[n][1] for n in order]
        body = b"".join(pieces)
        self.d.held[self.key], self.d.parts[self.key] = body, pieces
        right = resp.get("Bucket") == self.d.bucket and resp.get("Key") == self.key
        return (f"{self.d.status(resp)} {self.d.etag(resp, body, pieces)} "
                f"names={'right' if right else 'WRONG'} "
                f"location={'present' if resp.get('Location') else 'absent'} "
                f"{self.d.checksums(resp, body, pieces)}")

    def abort(self):
        return self.d.status(self.s3.abort_multipart_upload(**self.where()))


def three(d, last=1000):
    body = d.state(10 * MIB + last)
    return body, {1: body[:5 * MIB], 2: body[5 * MIB:10 * MIB], 3: body[10 * MIB:]}


def multipart_steps(t, d):
    name = "multi/big.tfstate"
    up = Upload(d, name)
    _, parts = three(d)
    t.step("multi create", up.create)
    t.step("multi list_parts of none", up.listed)
    for n in (3, 1, 2):
        t.step(f"multi part {n}", lambda: up.part(n, parts[n]))
    t.step("multi part 2 again", lambda: up.part(2, parts[2]))
    t.step("multi part 0", lambda: Upload.part(probe(up), 0, b"{}"))
    t.step("multi part 10001", lambda: Upload.part(probe(up), 10001, b"{}"))
    t.step("multi part wrong content-md5", lambda: Upload.part(
        probe(up), 1, b"{}", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA=="))
    t.step("multi part wrong checksum", lambda: Upload.part(
        probe(up), 1, b"{}", ChecksumCRC32=b64(digest("CRC32", b"another body"))))
    t.step("multi part of an unknown upload", lambda: Upload.part(
        probe(up, "0123456789abcdef0123456789abcdef"), 1, b"{}"))
    t.step("multi list_parts", up.listed)
    t.step("multi list_parts pages of 2", up.paged, 2)
    t.step("multi list_parts pages of 1", up.paged, 1)
    t.step("multi list_multipart_uploads", uploads, d, "multi/")
    t.step("multi get before complete", d.get, name)
    t.step("multi list before complete", d.list2, "multi/")
    t.step("multi complete wrong order", lambda: up.complete([2, 1, 3]))
    t.step("multi complete twice the same part", lambda: up.complete([1, 1, 2, 3]))
    t.step("multi complete wrong etag", lambda: up.complete(etags={2: WRONG_ETAG}))
    t.step("multi complete unknown part", lambda: up.complete([1, 2, 4]))
    t.step("multi complete no parts", lambda: up.complete([]))
    t.step("multi list_parts after refused completes", up.listed)
    t.step("multi complete", up.complete)
    t.step("multi head", d.head, name)
    t.step("multi head checksum-mode", d.head, name, ChecksumMode="ENABLED")
    t.step("multi get", d.get, name)
    t.step("multi get range over the parts", d.get, name, slice(5 * MIB - 5, 5 * MIB + 5),
           Range=f"bytes={5 * MIB - 5}-{5 * MIB + 4}")
    t.step("multi get if-match", lambda: d.get(name, IfMatch=real_etag(d, name)))

    def entry():
        resp = d.s3.list_objects_v2(Bucket=d.bucket, Prefix=d.key(name))
        return " | ".join(f"{d.rel(c['Key'])} size={c.get('Size')} "
                          f"{d.etag(c, d.held.get(c['Key']), d.parts.get(c['Key']))}"
                          for c in resp.get("Contents", []))

    t.step("multi list entry", entry)
    t.step("multi list_parts after complete", up.listed)
    t.step("multi part after complete", lambda: Upload.part(probe(up), 1, b"{}"))
    t.step("multi abort after complete", up.abort)
    t.step("multi list_multipart_uploads after complete", uploads, d, "multi/")

    gone = Upload(d, "multi/aborted.tfstate")
    small = d.state()
    t.step("abort create", gone.create)
    t.step("abort part 1", lambda: gone.part(1, small))
    t.step("abort", gone.abort)
    t.step("abort upload_part", lambda: Upload.part(probe(gone), 2, b"{}"))
    t.step("abort list_parts", gone.listed)
    t.step("abort complete", gone.complete)
    t.step("abort again", gone.abort)
    t.step("abort get", d.get, "multi/aborted.tfstate")

    tiny = Upload(d, "multi/tiny.tfstate")
    body = d.state(3000)
    t.step("tiny create", tiny.create)
    t.step("tiny part 1", lambda: tiny.part(1, body[:1000]))
    t.step("tiny part 2", lambda: tiny.part(2, body[1000:]))
    t.step("tiny complete", tiny.complete)
    t.step("tiny abort", tiny.abort)

    single = Upload(d, "multi/single.tfstate")
    t.step("single create", single.create)
    t.step("single part 7", lambda: single.part(7, d.state(3000)))
    t.step("single complete", single.complete)
    t.step("single get", d.get, "multi/single.tfstate")

    cond = Upload(d, "multi/single.tfstate")
    t.step("multi if-none-match create", cond.create)
    t.step("multi if-none-match part 1", lambda: cond.part(1, d.state(3000)))
    t.step("multi if-none-match * complete existing", lambda: cond.complete(IfNoneMatch="*"))
    t.step("multi if-match wrong complete", lambda: cond.complete(IfMatch=WRONG_ETAG))
    t.step("multi if-match right complete",
           lambda: cond.complete(IfMatch=real_etag(d, "multi/single.tfstate")))
    t.step("multi if-match right get", d.get, "multi/single.tfstate")
    fresh = Upload(d, "multi/fresh.tfstate")
    t.step("multi new if-none-match create", fresh.create)
    t.step("multi new if-none-match part 1", lambda: fresh.part(1, d.state(3000)))
    t.step("multi new if-none-match * complete", lambda: fresh.complete(IfNoneMatch="*"))

    for kind in ("COMPOSITE", "FULL_OBJECT"):
        whole = Upload(d, f"multi/{kind.lower()}.tfstate")
        _, parts = three(d)
        t.step(f"multi CRC32 {kind} create",
               lambda: whole.create(ChecksumAlgorithm="CRC32", ChecksumType=kind))
        t.step(f"multi CRC32 {kind} parts", lambda: " | ".join(
            whole.part(n, parts[n], ChecksumAlgorithm="CRC32") for n in (1, 2, 3)))

        def finish():
            where = whole.where()
            listed = [{"PartNumber": n, "ETag": whole.sent[n][0],
                       "ChecksumCRC32": b64(digest("CRC32", whole.sent[n][1]))} for n in (1, 2, 3)]
            resp = d.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": listed},
                                                  ChecksumType=kind)
            pieces = [whole.sent[n][1] for n in (1, 2, 3)]
            d.held[whole.key], d.parts[whole.key] = b"".join(pieces), pieces
            return (f"{d.status(resp)} {d.etag(resp, d.held[whole.key], pieces)} "
                    f"{d.checksums(resp, d.held[whole.key], pieces)}")

        t.step(f"multi CRC32 {kind} complete", finish)
        t.step(f"multi CRC32 {kind} head", d.head, whole.name, ChecksumMode="ENABLED")

    first, second = Upload(d, "multi/open/a.tfstate"), Upload(d, "multi/open/b.tfstate")
    again = Upload(d, "multi/open/a.tfstate")
    t.step("open create three", lambda: " | ".join(u.create() for u in (first, second, again)))
    t.step("open list_multipart_uploads", uploads, d, "multi/open/")
    t.step("open list_multipart_uploads delimiter", uploads, d, "multi/", Delimiter="/")

    def pages():
        extra, seen = {}, []
        while len(seen) < 10:
            resp = d.s3.list_multipart_uploads(Bucket=d.bucket, Prefix=d.key("multi/open/"),
                                               MaxUploads=1, **extra)
            seen.append(js([d.rel(u["Key"]) for u in resp.get("Uploads", [])]))
            if not resp.get("IsTruncated"):
                return " | ".join(seen)
            extra = {"KeyMarker": resp.get("NextKeyMarker"),
                     "UploadIdMarker": resp.get("NextUploadIdMarker")}
        return " | ".join(seen + ["NO-END"])

    t.step("open list_multipart_uploads pages of 1", pages)
    t.step("open list_multipart_uploads key-marker", lambda: uploads(
        d, "multi/open/", KeyMarker=d.key("multi/open/a.tfstate")))
    t.step("open abort three", lambda: " | ".join(u.abort() for u in (first, second, again)))
    t.step("open list_multipart_uploads at the end", uploads, d, "multi/")

    # The transfer manager.
    settings = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    name = "multi/transfer.tfstate"

    def up_file():
        body = d.state(17 * MIB)
        d.s3.upload_fileobj(io.BytesIO(body), d.bucket, d.key(name), Config=settings)
        d.held[d.key(name)], d.parts[d.key(name)] = body, cut(body, 5 * MIB)
        return "done"

    def up_small():
        body = d.state()
        key = d.key("multi/transfer-small.tfstate")
        d.s3.upload_fileobj(Stream(body), d.bucket, key, Config=settings)
        d.held[key] = body
        return "done"

    def down_file(k):
        out = io.BytesIO()
        d.s3.download_fileobj(d.bucket, d.key(k), out, Config=settings)
        return "same" if same(out.getvalue(), d.held.get(d.key(k), b"")) else "OTHER"

    t.step("transfer upload 17 MiB", up_file)
    t.step("transfer head", d.head, name, ChecksumMode="ENABLED")
    t.step("transfer download 17 MiB", down_file, name)
    t.step("transfer upload small without seek", up_small)
    t.step("transfer download small", down_file, "multi/transfer-small.tfstate")
    t.step("transfer download missing", down_file, "multi/transfer-none.tfstate")


def probe(up, upload_id=None):
    """The same upload, for a part that must not be remembered."""
    up.where()
    other = Upload(up.d, up.name, up.s3)
    other.id = upload_id or up.id
    return other


def presigned_steps(t, d):
    k = "sign/one.tfstate"
    t.step("presign put object", d.put, k)

    def url(operation, name=k, client=None, expires=600, **params):
        return (client or d.s3).generate_presigned_url(
            operation, Params={"Bucket": d.bucket, "Key": d.key(name), **params}, ExpiresIn=expires)

    def fetch(link, method="GET", body=None, name=k, **kwargs):
        status, code, headers, data = d.http(method, link, body, **kwargs)
        if status >= 300:
            return f"{status} {code}"
        if method == "PUT":
            d.held[d.key(name)] = body
            return f"{status} {d.etag({'ETag': headers.get('ETag')}, body)}"
        held = d.held.get(d.key(name), b"")
        if method == "HEAD":
            return f"{status} size={headers.get('Content-Length')} body={len(data)}"
        return f"{status} body={'same' if same(data, held) else 'OTHER'}"

    def spoil(link):
        return re.sub(r"(X-Amz-Signature=)(.)", lambda m: m.group(1) + ("0" if m.group(2) != "0" else "1"), link)

    t.step("presign GET", lambda: fetch(url("get_object")))
    t.step("presign GET range", lambda: fetch_range(d, url("get_object"), k))
    t.step("presign GET missing", lambda: fetch(url("get_object", "sign/none.tfstate")))
    t.step("presign HEAD", lambda: fetch(url("head_object"), "HEAD"))
    t.step("presign HEAD missing", lambda: fetch(url("head_object", "sign/none.tfstate"), "HEAD"))
    t.step("presign PUT", lambda: fetch(url("put_object"), "PUT", d.state()))
    t.step("presign PUT, get", d.get, k)
    t.step("presign PUT new key", lambda: fetch(
        url("put_object", "sign/n\u00e9w +1.tfstate"), "PUT", d.state(), "sign/n\u00e9w +1.tfstate"))
    t.step("presign PUT new key, GET", lambda: fetch(
        url("get_object", "sign/n\u00e9w +1.tfstate"), name="sign/n\u00e9w +1.tfstate"))
    t.step("presign DELETE new key", lambda: fetch_delete(d, url("delete_object", "sign/n\u00e9w +1.tfstate")))
    t.step("presign list", lambda: str(d.http("GET", d.s3.generate_presigned_url(
        "list_objects_v2", Params={"Bucket": d.bucket, "Prefix": d.key("sign/")}))[0]))
    t.step("presign tampered signature GET", lambda: fetch(spoil(url("get_object"))))
    t.step("presign tampered signature HEAD", lambda: fetch(spoil(url("head_object")), "HEAD"))
    t.step("presign tampered signature PUT", lambda: fetch(spoil(url("put_object")), "PUT", d.state()))
    t.step("presign tampered key", lambda: fetch(url("get_object").replace("one.tfstate", "two.tfstate")))
    t.step("presign GET used for PUT", lambda: fetch(url("get_object"), "PUT", d.state()))
    t.step("presign after refused PUTs, get", d.get, k)
    wrong = d.client(access=d.access, secret="not-the-secret-key", token=d.token)
    unknown = d.client(access="AKIAIOSFODNN7EXAMPLE", secret="not-the-secret-key")
    t.step("presign wrong secret key", lambda: fetch(url("get_object", client=wrong)))
    t.step("presign unknown access key", lambda: fetch(url("get_object", client=unknown)))

    def expired():
        link = url("get_object", expires=1)
        time.sleep(2.5)
        return fetch(link)

    t.step("presign expired", expired)
    t.step("presign expires in 8 days", lambda: fetch(url("get_object", expires=8 * 86400)))
    t.step("presign without signature", lambda: fetch(
        re.sub(r"&X-Amz-Signature=[0-9a-f]*", "", url("get_object"))))

    where = {"Bucket": d.bucket, "Key": d.key(k)}
    t.step("auth wrong secret key get", lambda: wrong.get_object(**where))
    t.step("auth wrong secret key head", lambda: wrong.head_object(**where))
    t.step("auth wrong secret key put", lambda: wrong.put_object(**where, Body=d.state()))
    t.step("auth wrong secret key list", lambda: wrong.list_objects_v2(Bucket=d.bucket))
    t.step("auth wrong secret key head_bucket", lambda: wrong.head_bucket(Bucket=d.bucket))
    t.step("auth unknown access key get", lambda: unknown.get_object(**where))
    t.step("auth unknown access key head", lambda: unknown.head_object(**where))
    t.step("auth unknown access key list", lambda: unknown.list_objects_v2(Bucket=d.bucket))
    nobody = d.client(signature_version=UNSIGNED)
    t.step("auth anonymous get", lambda: nobody.get_object(**where))
    t.step("auth anonymous put", lambda: nobody.put_object(**where, Body=d.state()))
    t.step("auth anonymous list", lambda: nobody.list_objects_v2(Bucket=d.bucket))
    # boto3 follows a server's hint to another region: look at the first answer.
    t.step("auth another region get", lambda: "{} {}".format(
        *d.signed("GET", k, region="eu-west-1" if d.region != "eu-west-1" else "us-east-1")[:2]))
    t.step("auth clock an hour behind", lambda: "{} {}".format(*d.signed("GET", k, skew=-3600)[:2]))
    t.step("auth clock an hour ahead", lambda: "{} {}".format(*d.signed("GET", k, skew=3600)[:2]))
    t.step("auth no header at all", lambda: "{} {}".format(
        *d.http("GET", f"{d.endpoint}/{d.bucket}/{urllib.parse.quote(d.key(k))}")[:2]))
    t.step("auth malformed header", lambda: "{} {}".format(
        *d.http("GET", f"{d.endpoint}/{d.bucket}/{urllib.parse.quote(d.key(k))}",
                headers={"Authorization": "AWS4-HMAC-SHA256 nonsense",
                         "x-amz-date": datetime.datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
                         "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})[:2]))
    t.step("auth after all, get", d.get, k)


def fetch_range(d, link, name):
    status, code, headers, data = d.http("GET", link, headers={"Range": "bytes=0-9"})
    right = same(data, d.held.get(d.key(name), b"")[:10])
    return f"{status} {code} range={headers.get('Content-Range')} body={'same' if right else 'OTHER'}"


def fetch_delete(d, link):
    status, code, _, _ = d.http("DELETE", link)
    return f"{status} {code}"


def cli_steps(t, d):
    d.cli_setup()

    def run(*words, stdin=None, show=True):
        code, out, _, text = d.cli("s3", *words, stdin=stdin)
        return f"{text} {d.tidy(out)}" if show and code == 0 else text

    def up(name, body, *extra):
        d.file(name, body)
        line = run("cp", name, d.uri("cli/" + name), "--no-progress", *extra)
        d.held[d.key("cli/" + name)] = body
        return line

    def down(name):
        line = run("cp", d.uri("cli/" + name), "down-" + name, "--no-progress")
        path = os.path.join(d.here, "down-" + name)
        if not os.path.exists(path):
            return f"{line} no file"
        with open(path, "rb") as src:
            data = src.read()
        right = same(data, d.held.get(d.key("cli/" + name), b""))
        return f"{line} body={'same' if right else 'OTHER'}"

    t.step("cli cp up", up, "one.tfstate", d.state(2000))
    t.step("cli cp down", down, "one.tfstate")
    t.step("cli cp up 9 MiB", up, "big.tfstate", d.state(9 * MIB))
    t.step("cli cp down 9 MiB", down, "big.tfstate")

    def pipe_in():
        body = d.state(1500)
        d.held[d.key("cli/dir/pipe.tfstate")] = body
        return run("cp", "-", d.uri("cli/dir/pipe.tfstate"), stdin=body)

    def pipe_out():
        code, out, _, text = d.cli("s3", "cp", d.uri("cli/dir/pipe.tfstate"), "-")
        return f"{text} body={'same' if same(out, d.held.get(d.key('cli/dir/pipe.tfstate'), b'')) else 'OTHER'}"

    t.step("cli cp from stdin", pipe_in)
    t.step("cli cp to stdout", pipe_out)
    t.step("cli cp down missing", down, "none.tfstate")

    def ls(name, *extra):
        code, out, _, text = d.cli("s3", "ls", d.uri(name), *extra)
        rows = []
        for line in out.decode("utf-8", "replace").splitlines():
            found = re.match(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(\d+) (.*)$", line)
            if found:
                shown = found.group(2)
                shown = d.rel(shown) if shown.startswith(d.prefix) else shown
                rows.append(f"{found.group(1)} {shown}")
            elif line.strip():
                rows.append(line.strip())
        return f"{text} {js(rows)}"

    t.step("cli ls", ls, "cli/")
    t.step("cli ls --recursive", ls, "cli/", "--recursive")
    t.step("cli ls of nothing", ls, "cli/nothing/")

    files = {"a.tfstate": d.state(500), "b.tfstate": d.state(600), "sub/c d+e.tfstate": d.state(700)}
    for name, body in files.items():
        d.file("tree/" + name, body, age=3600)

    def sync_up(*extra):
        return run("sync", "tree", d.uri("cli/tree/"), "--no-progress", *extra)

    def change():
        files["b.tfstate"] = d.state(600)
        path = d.file("tree/b.tfstate", files["b.tfstate"], age=-5)
        line = sync_up()
        os.utime(path, (time.time() - 3600,) * 2)
        return line

    def sync_down():
        d.file("copy/extra.tfstate", d.state(800), age=3600)
        d.file("copy/a.tfstate", d.state(900), age=7200)
        line = run("sync", d.uri("cli/tree/"), "copy", "--no-progress", "--delete")
        return f"{line} files={'same' if d.tree('copy') == files else js(sorted(d.tree('copy')))}"

    def sync_delete():
        path = os.path.join(d.here, "tree", "a.tfstate")
        os.remove(path)
        return sync_up("--delete")

    t.step("cli sync up", sync_up)
    t.step("cli sync up again", sync_up)
    t.step("cli sync up one changed", change)
    t.step("cli sync down --delete", sync_down)
    t.step("cli sync up --delete", sync_delete)
    t.step("cli sync up --delete, list", d.list2, "cli/tree/")
    t.step("cli rm", run, "rm", d.uri("cli/one.tfstate"))
    t.step("cli mb existing", lambda: d.cli("s3", "mb", "s3://" + d.bucket)[3])

    def presign():
        code, out, _, text = d.cli("s3", "presign", d.uri("cli/dir/pipe.tfstate"), "--expires-in", "300")
        if code:
            return text
        status, error, _, data = d.http("GET", out.decode().strip())
        right = same(data, d.held.get(d.key("cli/dir/pipe.tfstate"), b""))
        return f"{text} {status} {error} body={'same' if right else 'OTHER'}"

    t.step("cli presign", presign)
    t.step("cli rm --recursive", run, "rm", d.uri("cli/"), "--recursive")
    t.step("cli rm --recursive, list", d.list2, "cli/")

    def api(operation, *words, facts=None, key=None):
        where = ["--bucket", d.bucket] + (["--key", d.key(key)] if key else [])
        code, out, _, text = d.cli("s3api", operation, *where, *words)
        if code:
            return text
        answer = json.loads(out) if out.strip() else {}
        return f"{text} {facts(answer)}" if facts else text

    def keys(a):
        return f"keys={js([d.rel(c['Key']) for c in a.get('Contents') or []])}"

    k = "api/one.tfstate"
    body = d.state(1200)
    d.file("api.tfstate", body)
    d.held[d.key(k)] = body
    t.step("s3api head-bucket", api, "head-bucket",
           facts=lambda a: f"region={a.get('BucketRegion')}")
    t.step("s3api get-bucket-location", api, "get-bucket-location",
           facts=lambda a: f"location={a.get('LocationConstraint')}")
    t.step("s3api put-object", api, "put-object", "--body", "api.tfstate", key=k,
           facts=lambda a: f"{d.etag(a, body)} {d.checksums(a, body)}")
    t.step("s3api put-object if-none-match", api, "put-object", "--body", "api.tfstate",
           "--if-none-match", "*", key=k)
    t.step("s3api head-object", api, "head-object", key=k,
           facts=lambda a: f"size={a.get('ContentLength')} {d.etag(a, body)}")
    t.step("s3api head-object missing", api, "head-object", key="api/none.tfstate")

    def ranged(a):
        with open(os.path.join(d.here, "ranged"), "rb") as src:
            data = src.read()
        return f"range={a.get('ContentRange')} body={'same' if same(data, body[5:20]) else 'OTHER'}"

    t.step("s3api get-object --range", api, "get-object", "--range", "bytes=5-19", "ranged",
           key=k, facts=ranged)
    t.step("s3api list-objects", api, "list-objects", "--prefix", d.key("api/"), facts=keys)
    t.step("s3api list-objects-v2", api, "list-objects-v2", "--prefix", d.key("api/"), facts=keys)
    t.step("s3api delete-object", api, "delete-object", key=k)
    t.step("s3api delete-objects of missing keys", api, "delete-objects", "--delete",
           js({"Objects": [{"Key": d.key(k)}, {"Key": d.key("api/none.tfstate")}]}),
           facts=lambda a: f"deleted={js(sorted(d.rel(x['Key']) for x in a.get('Deleted') or []))} "
                           f"errors={len(a.get('Errors') or [])}")

    k = "api/multi.tfstate"
    body = d.state(5 * MIB + 700)
    pieces = [body[:5 * MIB], body[5 * MIB:]]
    upload = {}

    def create(a):
        upload["id"] = a.get("UploadId")
        return f"id={'present' if upload['id'] else 'absent'}"

    def on_upload(operation, *words, facts=None):
        if not upload.get("id"):
            raise Unmet("the upload")
        return api(operation, "--upload-id", upload["id"], *words, key=k, facts=facts)

    def part(n):
        d.file(f"part{n}", pieces[n - 1])

        def facts(a):
            upload[n] = a.get("ETag")
            return f"{d.etag(a, pieces[n - 1])} {d.checksums(a, pieces[n - 1])}"
        return on_upload("upload-part", "--part-number", str(n), "--body", f"part{n}", facts=facts)

    t.step("s3api create-multipart-upload", api, "create-multipart-upload", key=k, facts=create)
    t.step("s3api upload-part 2", part, 2)
    t.step("s3api upload-part 1", part, 1)
    t.step("s3api list-parts", on_upload, "list-parts", facts=lambda a: "parts=" + js(
        [(p.get("PartNumber"), p.get("Size")) for p in a.get("Parts") or []]))
    t.step("s3api list-multipart-uploads", api, "list-multipart-uploads", "--prefix", d.key("api/"),
           facts=lambda a: "keys=" + js([d.rel(u["Key"]) for u in a.get("Uploads") or []]))

    def complete():
        parts = [{"PartNumber": n, "ETag": upload.get(n) or WRONG_ETAG} for n in (1, 2)]
        return on_upload("complete-multipart-upload", "--multipart-upload", js({"Parts": parts}),
                         facts=lambda a: d.etag(a, body, pieces))

    def check():
        d.held[d.key(k)], d.parts[d.key(k)] = body, pieces
        return d.get(k)

    t.step("s3api complete-multipart-upload", complete)
    t.step("s3api complete-multipart-upload, get", check)
    upload.clear()
    d.file("part1", pieces[0])
    t.step("s3api create-multipart-upload to abort", api, "create-multipart-upload", key=k, facts=create)
    t.step("s3api abort-multipart-upload", on_upload, "abort-multipart-upload")
    t.step("s3api abort-multipart-upload again", on_upload, "abort-multipart-upload")


def cleanup(d):
    """Abort and delete everything below the prefix; gives what is left."""
    def open_uploads():
        found, extra = [], {}
        while True:
            resp = d.s3.list_multipart_uploads(Bucket=d.bucket, Prefix=d.prefix, **extra)
            found += [(u["Key"], u["UploadId"]) for u in resp.get("Uploads", [])]
            if not resp.get("IsTruncated") or len(found) > 10000:
                return found
            extra = {"KeyMarker": resp.get("NextKeyMarker"),
                     "UploadIdMarker": resp.get("NextUploadIdMarker")}

    def all_keys():
        return [c["Key"] for page in d.s3.get_paginator("list_objects_v2").paginate(
            Bucket=d.bucket, Prefix=d.prefix) for c in page.get("Contents", [])]

    def quietly(call, default=None, **kwargs):
        try:
            return call(**kwargs)
        except Exception as exc:
            print(f"cleanup: {describe(exc)}", file=sys.stderr)
            return default

    for key, upload_id in quietly(open_uploads, []):
        quietly(d.s3.abort_multipart_upload, Bucket=d.bucket, Key=key, UploadId=upload_id)
    # Locks first; then what was listed and what was written but is not listed.
    listed = set(quietly(all_keys, [])) | set(d.held)
    for key in sorted(listed, key=lambda k: (not k.endswith(".tflock"), k)):
        quietly(d.s3.delete_object, Bucket=d.bucket, Key=key)
    return f"objects left={len(all_keys())} uploads left={len(open_uploads())}"


GROUPS = (("bucket", bucket_steps), ("object", object_steps), ("condition", condition_steps),
          ("checksum", checksum_steps), ("stream", streaming_steps), ("key", odd_key_steps),
          ("list", list_steps), ("lock", lock_steps), ("delete", delete_steps),
          ("multipart", multipart_steps), ("presign", presigned_steps), ("cli", cli_steps))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True, help="such as team/run1/; must end with a slash")
    parser.add_argument("--aws", help="the AWS CLI; without it the CLI steps are left out")
    parser.add_argument("--only", action="append", choices=[n for n, _ in GROUPS],
                        help="run only this group of steps (can be given again)")
    parser.add_argument("--serial", type=int, default=1000,
                        help="states are written with serials above this one (1000 to 9000)")
    parser.add_argument("--verbose", action="store_true", help="times and tracebacks on stderr")
    args = parser.parse_args()
    if not args.prefix.endswith("/") or not 1000 <= args.serial <= 9000:
        parser.error("the prefix must end with a slash, the serial be from 1000 to 9000")
    if args.aws and os.sep in args.aws:
        args.aws = os.path.abspath(args.aws)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not os.environ.get(name):
            parser.error(f"{name} is not set")
    # Nothing but the arguments and the credentials may steer boto3.
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        os.environ.pop(name, None)
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

    t = Transcript(args.verbose)
    d = Door(args)
    try:
        for name, steps in GROUPS:
            if args.only and name not in args.only:
                continue
            if name == "cli" and not args.aws:
                continue
            try:
                steps(t, d)
            except Exception as exc:  # outside a step: say so and go on
                t.line(f"group {name}: stopped by {describe(exc)}")
                if args.verbose:
                    traceback.print_exc()
    finally:
        t.step("cleanup", cleanup, d)
        shutil.rmtree(d.work, ignore_errors=True)
    t.line(f"end: {t.lines} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())

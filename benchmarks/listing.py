"""How fast a target is listed, in how much memory, against the barest way of doing it.

    python benchmarks/listing.py --files 1000000 --keys 200000

Makes empty files (half of them in one folder, the rest in folders of a thousand) and a loopback
server that speaks S3's listing; lists each in a fresh process with the store and with a floor
(os.scandir and stat; the SDK's paginator alone); prints keys/s, growth of peak memory, time ratio.
"""  # fmt: skip

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "listing"
PER_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument(
        "--folder", type=Path, help="where to make the files (default: a temporary one)"
    )
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if asked.measure:
        print(json.dumps(measure(*asked.measure)))
    elif asked.serve is not None:
        serve(asked.serve)
    else:
        print(f"{'':24}{'keys':>10}{'seconds':>9}{'keys/s':>10}{'peak +MiB':>11}{'ratio':>7}")
        if asked.files:
            with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                make_files(Path(folder), asked.files)
                compare("local-floor", "local-store", folder, asked.files)
        if asked.keys:
            with s3_server(asked.keys) as endpoint:
                compare("s3-floor", "s3-store", endpoint, asked.keys)


def compare(floor: str, store: str, where: str, expected: int) -> None:
    results = [in_fresh_process(floor, where), in_fresh_process(store, where)]
    for name, (count, seconds, growth) in zip((floor, store), results, strict=True):
        if count != expected:
            raise SystemExit(f"{name} listed {count} of {expected}")
        ratio = seconds / results[0][1]
        speed = f"{count:10,}{seconds:9.2f}{count / seconds:10,.0f}"
        print(f"{name:24}{speed}{growth:11.1f}{ratio:7.2f}", flush=True)


def in_fresh_process(what: str, where: str) -> tuple[int, float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", what, where],
        check=True, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    count, seconds, growth = json.loads(done.stdout)
    return count, seconds, growth


def measure(what: str, where: str) -> tuple[int, float, float]:
    """Objects listed, seconds, growth of the peak memory in MiB; warmed up by a first object."""
    start: Callable[[str], Iterator[object]] = {
        "local-floor": local_floor, "local-store": local_store,
        "s3-floor": s3_floor, "s3-store": s3_store,
    }[what]  # fmt: skip
    next(start(where if what.startswith("s3") else str(Path(__file__).parent)))
    before = peak_mib()
    began = time.perf_counter()
    count = sum(1 for _ in start(where))
    return count, time.perf_counter() - began, peak_mib() - before


def peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def local_floor(folder: str) -> Iterator[object]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from local_floor(entry.path)
            else:
                yield entry.stat(follow_symlinks=False)


def local_store(folder: str) -> Iterator[object]:
    from scanner.model import StoreSpec
    from scanner.stores import open_store

    return open_store(StoreSpec(folder)).list()


def s3_floor(endpoint: str) -> Iterator[object]:
    import botocore.session

    client = botocore.session.Session().create_client("s3", endpoint_url=endpoint)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        yield from page["Contents"]


def s3_store(endpoint: str) -> Iterator[object]:
    from scanner.model import StoreSpec
    from scanner.stores import open_store

    return open_store(StoreSpec(f"s3://{BUCKET}", endpoint_url=endpoint)).list()


def make_files(folder: Path, count: int) -> None:
    for number in range(count):
        inner = folder / ("all" if number < count // 2 else f"{number // PER_FOLDER:06}")
        if number == 0 or number >= count // 2:
            inner.mkdir(exist_ok=True)
        os.close(os.open(f"{inner}/IMG_{number * 7919 % count:08}.jpg", os.O_CREAT | os.O_WRONLY))


@contextmanager
def s3_server(keys: int) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(keys)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def serve(keys: int) -> None:
    """Answers ListObjectsV2 with pages of made-up keys, fast enough to measure the reading of them.

    A moto server needs minutes for as many keys; its own work would hide what is measured.
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from urllib.parse import parse_qs, urlsplit

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            first = int(query.get("continuation-token", ["0"])[0])
            after = min(first + int(query.get("max-keys", ["1000"])[0]), keys)
            more = f"<NextContinuationToken>{after}</NextContinuationToken>" if after < keys else ""
            rows = "".join(
                f"<Contents><Key>{number // PER_FOLDER:06}/IMG_{number:08}.jpg</Key>"
                "<LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>0</Size>"
                "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
                for number in range(first, after)
            )
            page = (
                '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
                f"<EncodingType>url</EncodingType>{rows}</ListBucketResult>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


def environment() -> dict[str, str]:
    fake = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_REGION": "us-east-1"}
    return {**os.environ, **fake, "AWS_EC2_METADATA_DISABLED": "true"}


if __name__ == "__main__":
    main()

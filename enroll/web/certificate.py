"""A certificate of the page's own, which nobody has signed: browsers warn once; its fingerprint can be compared.

Run as a program of its own, `python -m earmark.enroll.web.certificate FOLDER HOST…`: what makes it takes 10 MB of
memory, which the page then does without.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from earmark.engine.errors import InstallationError
from earmark.engine.processes.own import environment_for_others, own_command
from earmark.engine.storage.atomic import make_folder, read_limited, replace_synced

CERTIFICATE_FILE, KEY_FILE = "certificate.pem", "key.pem"
DAYS = 820  # browsers of Apple refuse what is good for longer than 825
MAKE_S = 60.0
MAX_BYTES = 64 << 10


def own_certificate(folder: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Certificate and key of a folder; made where there is none, or it is good for no month any more.

    Raises:
        InstallationError: it cannot be made.
    """
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    if not (certificate.is_file() and key.is_file() and _is_good(certificate)):
        done = subprocess.run(
            own_command("earmark.enroll.web.certificate", str(folder), *hosts),
            env=environment_for_others(os.environ),
            capture_output=True,
            text=True,
            timeout=MAKE_S,
            check=False,
        )
        if done.returncode:
            raise InstallationError(f"{folder}: no certificate could be made: {done.stderr.strip()[-500:]}")
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate, as browsers show it."""
    digest = hashlib.sha256(_der(certificate)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(read_limited(certificate, MAX_BYTES).decode("ascii"))


def _is_good(certificate: Path) -> bool:
    """By the age of its file: it is made anew a month before its end."""
    made = datetime.datetime.fromtimestamp(certificate.stat().st_mtime, datetime.timezone.utc)
    return datetime.datetime.now(datetime.timezone.utc) - made < datetime.timedelta(days=DAYS - 30)


def make(folder: Path, hosts: Sequence[str]) -> None:
    """Writes a new certificate, and its key (mode 0600).

    Raises:
        OSError: it cannot be written.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "earmark")])
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    make_folder(folder)
    replace_synced(folder / KEY_FILE, key.private_bytes(pem, form, none))
    replace_synced(folder / CERTIFICATE_FILE, signed.public_bytes(pem))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2:])

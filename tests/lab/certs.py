"""Keys and certificates by the openssl command: one authority that the gateway trusts, one that it
does not, and one certificate per MX host, good or with the one fault that its site asks for."""

import base64
import hashlib
import ssl

from lab import run

SUBJECT = ["-subj", "/O=stsgate lab/CN=lab"]


def first_certificate(pem):
    text = pem.read_text()
    return text[:text.index("-----END CERTIFICATE-----") + 25][text.index("-----BEGIN CERT"):]


class Certificates:
    """All of a run, in one folder. A pair is (certificate with chain, key)."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.key = folder / "leaf.key"
        self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-out", self.key)
        self.ca = self._authority("ca")
        self._authority("unknown-ca")

    def _openssl(self, *argv):
        return run("openssl", *map(str, argv), cwd=self.folder)

    def _authority(self, name):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "30", "-subj", f"/O=stsgate lab/CN={name}",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-keyout", f"{name}.key", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def make(self, name, hosts, kind="own"):
        """A pair whose certificate names hosts, unless kind makes it faulty. "KIND+ca" presents the
        certificate of that authority behind it, whether it is the issuer's or not."""
        kind, _, behind = kind.partition("+")
        if behind:
            crt, key = self.make(name, hosts, kind)
            crt.write_text(crt.read_text() + (self.folder / f"{behind}.pem").read_text())
            return crt, key
        crt, req = self.folder / f"{name}.crt", self.folder / f"{name}.csr"
        if kind == "wrong":
            hosts = ["mx.somewhere-else.test"]
        names = "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts)
        if kind == "self-signed":
            self._openssl("req", "-x509", "-key", self.key, *SUBJECT, "-days", "30",
                          "-addext", names, "-out", crt)
            return crt, self.key
        self._openssl("req", "-new", "-key", self.key, *SUBJECT, "-addext", names, "-out", req)
        if kind == "expired":
            self._sign_expired(req, crt)
        else:
            issuer = "unknown-ca" if kind == "unknown-ca" else "ca"
            self._openssl("x509", "-req", "-in", req, "-CA", f"{issuer}.pem", "-CAkey",
                          f"{issuer}.key", "-CAcreateserial", "-days", "30",
                          "-copy_extensions", "copy", "-out", crt)
        return crt, self.key

    def _sign_expired(self, req, crt):
        """Only "openssl ca" sets both ends of the validity."""
        (self.folder / "index.txt").write_text("")
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\ncopy_extensions=copy\nunique_subject=no\n[p]\norganizationName=optional\n"
            "commonName=optional\n")
        self._openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem",
                      "-keyfile", "ca.key", "-startdate", "20200101000000Z",
                      "-enddate", "20200201000000Z", "-in", req, "-out", crt, "-outdir", ".")

    def tlsa_data(self, pem, selector, matching):
        """Certificate association data (RFC 6698 2.1) of the first certificate in a PEM file, in hex."""
        der = ssl.PEM_cert_to_DER_cert(first_certificate(pem))
        if selector == "1":
            key = self._openssl("x509", "-in", pem, "-noout", "-pubkey")
            der = base64.b64decode("".join(key.splitlines()[1:-1]))
        digest = {"0": bytes, "1": lambda b: hashlib.sha256(b).digest(),
                  "2": lambda b: hashlib.sha512(b).digest()}[matching]
        return digest(der).hex()

    def chain_file(self, name, hosts, kind="own"):
        """Key and certificate in one file, as Postfix likes them."""
        crt, key = self.make(name, hosts, kind)
        both = self.folder / f"{name}.both.pem"
        both.write_text(key.read_text() + crt.read_text())
        return both

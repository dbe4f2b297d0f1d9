"""Certificates and tokens for servers and clients on this machine."""

import pathlib
import socket
import ssl

from harness.process import run

TOKEN = "c2VzYW1l.open-1"


class Certificates:
    """An authority and what it signs, by openssl, for this machine; name.pem and name.key in one folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.mkdir()
        for name in ("ca", "stranger"):
            self._openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
            )  # fmt: skip
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        (folder / "tokens").write_text(f"# who may write\n{TOKEN}\n")
        (folder / "token").write_text(TOKEN)
        for name in ("server", "next", "client"):
            self.sign(name, "ca")
        self.sign("impostor", "stranger")

    def _openssl(self, *arguments):
        done = run(["openssl", *arguments], cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def sign(self, name: str, authority: str):
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial",
            "-days", "1", "-extfile", "names", "-out", f"{name}.pem",
        )  # fmt: skip

    def path(self, name: str) -> pathlib.Path:
        return self.folder / name

    def bytes(self, name: str) -> bytes:
        return self.path(name).read_bytes()

    def server(self, *, client_ca: bool = False, more: str = "") -> str:
        """Of a listener's options: its TLS."""
        asked = f", client_ca_file: {self.path('ca.pem')}" if client_ca else ""
        return f"tls: {{ cert_file: {self.path('server.pem')}, key_file: {self.path('server.key')}{asked}{more} }}"

    def tokens(self) -> str:
        return f"bearer_token_file: {self.path('tokens')}"

    def shown_by(self, port: int) -> str:
        """The common name that a server shows now."""
        context = ssl.create_default_context(cafile=self.path("ca.pem"))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as tcp,
            context.wrap_socket(tcp, server_hostname="localhost") as tls,
        ):
            return dict(pair[0] for pair in tls.getpeercert()["subject"])["commonName"]

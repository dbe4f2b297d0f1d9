"""Back ends that behave as told: an nginx that answers 202 or 503, and a socket that takes a request and never answers."""

import pathlib
import re
import socket
import threading

from harness.net import answers, free_port
from harness.process import Process


class Sink:
    """nginx: any POST is answered 202; while down() holds, 503. /refused always answers 400."""

    def __init__(self, folder: pathlib.Path, port: int | None = None, *, log: bool = True):
        self.folder, self.port, self.log = folder, port or free_port(), log
        self.switch = folder / "down"
        self.process: Process | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v2/spans"

    def start(self) -> "Sink":
        self.folder.mkdir(parents=True, exist_ok=True)
        temp = self.folder / "temp"
        temp.mkdir(exist_ok=True)
        paths = " ".join(f"{kind}_temp_path {temp};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body"))
        config = self.folder / "nginx.conf"
        config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  log_format line '$request_method $uri $status $request_length $content_type';
  access_log {f"{self.folder}/access.log line" if self.log else "off"};
  client_max_body_size 64m; client_body_buffer_size 2m; keepalive_requests 1000000000; {paths}
  server {{
    listen 127.0.0.1:{self.port};
    location = /health {{ return 200 ok; }}
    location = /refused {{ return 400; }}
    location / {{ if (-f {self.switch}) {{ return 503; }} return 202; }}
  }}
}}
""")
        self.process = Process("nginx", ["nginx", "-e", self.folder / "error.log", "-c", config], self.folder / "nginx.log")
        self.process.wait_ready(lambda: answers(f"http://127.0.0.1:{self.port}/health"))
        return self

    def down(self, yes: bool = True):
        if yes:
            self.switch.touch()
        else:
            self.switch.unlink(missing_ok=True)

    def statuses(self) -> dict[int, int]:
        """How often it answered what to a POST."""
        counts: dict[int, int] = {}
        path = self.folder / "access.log"
        for status in re.findall(r"^POST \S+ (\d+)", path.read_text() if path.exists() else "", re.M):
            counts[int(status)] = counts.get(int(status), 0) + 1
        return counts

    def stop(self) -> int:
        return self.process.stop() if self.process else 0


class Silence:
    """Accepts connections, reads what comes, answers nothing."""

    def __init__(self):
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.connections: list[socket.socket] = []
        self.bytes_read = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket):
        try:
            while data := connection.recv(65536):
                self.bytes_read += len(data)
        except OSError:
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # ends accept(), which would hold the port
        self._thread.join()
        self.listener.close()
        for connection in self.connections:
            connection.close()

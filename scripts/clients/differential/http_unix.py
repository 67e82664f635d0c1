"""HTTP/1.1 over a unix socket, as raw as a comparison needs it: heads as they came, chunks one by one, hijacking."""

import json
import socket


class Response:
    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""
        # How the body's end was told: "length", "chunked", "close" or "none".
        self.framing = "none"

    def json(self):
        return json.loads(self.body)


class Connection:
    """One connection; requests follow each other on it."""

    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def send(self, method, target, body=None, headers=()):
        """Sends a request. A dictionary or list goes as JSON, bytes as they are."""
        lines = {"Host": "docker"}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            lines["Content-Type"] = "application/json"
        if body is not None or method in ("POST", "PUT"):
            lines["Content-Length"] = str(len(body or b""))
        lines.update(headers)
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            self.socket.sendall(head.encode() + b"\r\n" + (body or b""))
        except BrokenPipeError:
            pass  # An answer that did not wait for the whole request.

    def request(self, method, target, body=None, headers=()):
        self.send(method, target, body, headers)
        response = self.head()
        response.body = b"".join(self.parts(response, method))
        return response

    def head(self):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        response = Response(int(lines[0].split(" ")[1]), {})
        for line in lines[1:]:
            name, _, value = line.partition(":")
            response.headers.setdefault(name.strip().lower(), value.strip())
        return response

    def parts(self, response, method="GET"):
        """The body as it comes: chunks, or what each read brings."""
        if method == "HEAD" or response.status in (204, 304):
            return
        if response.headers.get("transfer-encoding") == "chunked":
            response.framing = "chunked"
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                yield self._exactly(size)
                self._exactly(2)
            self._until(b"\r\n")
        elif "content-length" in response.headers:
            response.framing = "length"
            yield self._exactly(int(response.headers["content-length"]))
        else:
            response.framing = "close"
            while part := self.read():
                yield part

    def lines(self, response):
        """The JSON documents of a streamed answer, one by one."""
        text = b""
        for part in self.parts(response):
            text += part
            while b"\n" in text:
                line, text = text.split(b"\n", 1)
                if line.strip():
                    yield json.loads(line)

    def read(self):
        """What is there, waiting for at least a byte; nothing at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return self.socket.recv(65536)

    def rest(self):
        """Everything until the other side ends."""
        return b"".join(iter(self.read, b""))

    def _until(self, end):
        while end not in self.buffer:
            self._fill()
        found, self.buffer = self.buffer.split(end, 1)
        return found

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._fill()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def _fill(self):
        more = self.socket.recv(65536)
        if not more:
            raise ConnectionError("the connection ended in the middle of an answer")
        self.buffer += more

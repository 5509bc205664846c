"""A provider of logins on loopback: real HTTP, real keys, real signatures, and every lie that an attacker tells."""

import base64
import hmac
import html
import json
import secrets
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core.util import create_half_hash
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "slopeward", "a secret / with + odd : signs"


def make_key(name):
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


class Keys(dict):
    """Each is made when it is first asked for, once: they take time."""

    def __missing__(self, name):
        self[name] = make_key(name)
        return self[name]


KEYS = Keys()


def spell(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def encode(part):
    return spell(json.dumps(part).encode())


class OidcProvider:
    """One provider; its attributes say how it answers from now on."""

    def __init__(self, address, now):
        self.address, self.now = address, now
        self.person = {"sub": "248289761001", "preferred_username": "ida", "groups": ["duty"]}
        self.key, self.published = KEYS["first"], [KEYS["first"]]
        self.bend = lambda claims: claims
        self.sign = None
        self.calls_itself = address
        self.forgets_codes = False
        self.asks = False  # a page of its own, on which somebody clicks, in place of a redirect
        self.codes = {}
        self.userinfo = None  # a function of the claims, where there is such an endpoint
        self.told = {}  # access token -> claims

    def discovery(self):
        return {
            "issuer": self.calls_itself,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/jwks",
            **({"userinfo_endpoint": f"{self.address}/userinfo"} if self.userinfo else {}),
        }

    def authorize(self, asked):
        """Somebody logs in here at once; gives the address that the browser goes back to."""
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def redeem(self, form, authorization):
        expected = base64.b64decode(authorization.removeprefix("Basic ")).decode() if authorization else ""
        if expected != "slopeward:a%20secret%20%2F%20with%20%2B%20odd%20%3A%20signs":
            return 401, {"error": "invalid_client"}
        asked = self.codes.get(form["code"]) if self.forgets_codes else self.codes.pop(form["code"], None)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(form["code_verifier"]) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        access, now = secrets.token_urlsafe(16), int(self.now())
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "at_hash": create_half_hash(access, "RS256").decode(),
            **self.person,
        }
        self.told[f"Bearer {access}"] = claims
        claims = self.bend(claims)
        token = self.sign(claims) if self.sign else self.spell(claims)
        return 200, {"access_token": access, "token_type": "Bearer", "id_token": token}

    def spell(self, claims, key=None, **header):
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key, ["RS256"])

    def without_signature(self, claims):
        return f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}."

    def by_public_key(self, claims):
        """HS256 with what everybody can read as the secret."""
        signed = f"{encode({'alg': 'HS256', 'kid': self.key.kid})}.{encode(claims)}"
        return f"{signed}.{spell(hmac.digest(self.key.as_pem(private=False), signed.encode(), 'sha256'))}"


@contextmanager
def providing(now=time.time, host="127.0.0.1"):
    """A provider on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            parts = urlsplit(self.path)
            if parts.path == "/.well-known/openid-configuration":
                return self.answer(200, provider.discovery())
            if parts.path == "/jwks":
                return self.answer(200, {"keys": [key.as_dict(private=False) for key in provider.published]})
            if parts.path == "/userinfo":
                known = provider.told.get(self.headers.get("Authorization"))
                return self.answer(401, {}) if known is None else self.answer(200, provider.userinfo(known))
            asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
            back = provider.authorize(asked)
            body = f'<a href="{html.escape(back)}">Yes, it is me</a>'.encode() if provider.asks else b""
            self.send_response(200 if provider.asks else 303)
            self.send_header(*(("Content-Type", "text/html") if provider.asks else ("Location", back)))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body)

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(*provider.redeem({k: v[0] for k, v in form.items()}, self.headers.get("Authorization")))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = OidcProvider(f"http://{host}:{server.server_port}", now)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""The protocol of OpenID Connect: authorization code flow with PKCE (RFC 7636), state and nonce.

Metadata and keys of the provider are requested at every login. Logins are rare, changed and revoked keys take effect at
once, and a provider that does not answer is noticed before the browser is sent there.
"""

import hmac
import json
import re
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from monitor.api.delivery import UNCOMPRESSED_HEADERS, read_answer
from monitor.api.errors import SlopewardError
from monitor.api.queries.people import IdentityProviderUser
from monitor.api.settings import OidcSection, is_safe_for_logins
from monitor.api.text import Template, tidy_name

if TYPE_CHECKING:
    import httpx  # imported in functions, because it loads slowly and most services have no provider

BACK: Final = "/login/oidc/back"
TIMEOUT_S: Final = 5.0
LEEWAY_S: Final = 60  # allowed difference of the clocks of provider and service
# Only signatures with a private key of the provider. `none` and HMAC are excluded (algorithm confusion).
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_KEY_TYPES: Final = ("RSA", "EC", "OKP")
_MAX_SUBJECT_LENGTH: Final = 255  # characters (OpenID Connect Core, section 2)
_OTHER_NAME: Final = Template("provider.other_name", "its name is '{name}', not '{issuer}' (oidc.issuer)")
_OPEN_ADDRESS: Final = Template("provider.open_address", "its {name} is not an https:// address")
_NO_ANSWER: Final = Template("provider.no_answer", "no answer ({problem})")
_NO_ANSWER_FROM: Final = Template("provider.no_answer_from", "no answer from {address} ({problem})")
_BAD_STATUS: Final = Template("provider.bad_status", "{address} answers with status {status}")
_NO_JSON: Final = Template("provider.no_json", "{address} answers with status {status} and no JSON object")
_NO_CODE: Final = Template("provider.no_code", "without a code")


# Authentication methods (RFC 8176) by their factor: knowledge, possession or biometry.
_FACTORS: Final = {
    **dict.fromkeys(("pwd", "pin", "kba"), "known"),
    **dict.fromkeys(("otp", "hwk", "swk", "sc", "sms", "tel", "pop"), "held"),
    **dict.fromkeys(("fpt", "face", "iris", "retina", "vbm"), "body"),
}


@dataclass(frozen=True, slots=True)
class OidcIdentity:
    """The person that an OpenID Connect provider identified."""

    person: IdentityProviderUser
    by_two: bool  # whether the ID token states that a second factor was used


def find_claim(claims: Any, name: str) -> Any:
    """Return a claim by its name or by a dotted path through other claims; None if it does not exist.

    >>> find_claim({"realm_access": {"roles": ["duty"]}}, "realm_access.roles")
    ['duty']
    >>> find_claim({"https://id.example.org/groups": "duty"}, "https://id.example.org/groups")
    'duty'
    """
    if not isinstance(claims, Mapping):
        return None
    if name in claims:
        return claims[name]
    # A name in the path can contain dots itself, so every split is tried.
    parts = name.split(".")
    for k in range(1, len(parts)):
        value = find_claim(claims.get(".".join(parts[:k])), ".".join(parts[k:]))
        if value is not None:
            return value
    return None


def read_person(
    issuer: str, claims: Mapping[str, Any], userinfo: Mapping[str, Any], name_claim: str, groups_claim: str
) -> IdentityProviderUser:
    """Return the person that claims describe. Claims of another type than expected are ignored.

    Args:
        issuer: the provider.
        claims: claims of the ID token.
        userinfo: claims of the userinfo endpoint, which count only if the token has no claim of the same name.
        name_claim: claim with the name of the person.
        groups_claim: claim with the groups of the person.

    >>> nested = {"resource_access": {"page": {"roles": ["duty"]}}}
    >>> token = {"sub": "6", "resource_access": {"account": {"roles": ["view-profile"]}}}
    >>> read_person("i", token, nested, "name", "resource_access.page.roles").groups
    ('duty',)
    """

    def find(name: str) -> Any:
        value = find_claim(claims, name)
        return find_claim(userinfo, name) if value is None else value

    subject = str(claims["sub"])
    name = find(name_claim)
    groups = find(groups_claim)
    if isinstance(groups, str):
        groups = [groups]
    elif not isinstance(groups, list):
        groups = []
    account_name = tidy_name(name) if isinstance(name, str) and name.strip() else subject
    names = tuple(group for group in groups if isinstance(group, str))
    return IdentityProviderUser(issuer, subject, account_name[:64], names)


def has_used_second_factor(claims: Mapping[str, Any], acr: Sequence[str] = ()) -> bool:
    """Return whether an ID token states that the login used a second factor.

    Args:
        claims: claims of the ID token.
        acr: values of the claim `acr` that mean a second factor at this provider.

    >>> [has_used_second_factor(claims) for claims in ({"amr": ["pwd", "otp"]}, {"amr": ["pwd"]}, {})]
    [True, False, False]
    >>> odd_claims = ({"amr": ["pwd", "pin"]}, {"amr": "mfa"}, {"amr": [["mfa"], 5], "acr": ["x"]})
    >>> [has_used_second_factor(claims) for claims in odd_claims]
    [False, False, False]
    >>> has_used_second_factor({"amr": ["mfa"]}), has_used_second_factor({"acr": "gold"}, ["gold"])
    (True, True)
    """
    if isinstance(claims.get("acr"), str) and claims["acr"] in acr:
        return True
    amr = claims.get("amr")
    methods = {method for method in amr if isinstance(method, str)} if isinstance(amr, list) else set()
    factors = {_FACTORS[method] for method in methods if method in _FACTORS}
    return "mfa" in methods or len(factors) > 1


class ProviderDownError(SlopewardError):
    """The provider does not answer, or its answer is not valid. The message is one line for people."""


class LoginRefusedError(Exception):
    """The provider refused the login, or its answer does not prove the identity. The message has the reason."""


@dataclass(frozen=True, slots=True)
class LoginFlow:
    """Secrets that a cookie keeps in the browser while the person logs in at the provider."""

    state: str
    nonce: str
    verifier: str

    def to_text(self) -> str:
        """Return the value of the cookie."""
        return f"{self.state}.{self.nonce}.{self.verifier}"

    @staticmethod
    def read(text: str) -> "LoginFlow | None":
        """Return the flow in a cookie, or None if the cookie is not valid."""
        parts = text.split(".")
        return LoginFlow(*parts) if len(parts) == 3 and all(re.fullmatch(r"[\w-]{20,100}", p) for p in parts) else None

    def has_state(self, state: str) -> bool:
        """Return whether an answer of the provider belongs to the login that this browser started."""
        return hmac.compare_digest(self.state.encode(), state.encode())


class Provider:
    """The identity provider in the service file."""

    def __init__(self, section: OidcSection, page: str) -> None:
        self._section = section
        self._back = f"{page}{BACK}"

    def begin(self) -> tuple[str, LoginFlow]:
        """Return the address to which the browser is sent, and the flow for its cookie; raises ProviderDownError."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        flow = LoginFlow(*(secrets.token_urlsafe(size) for size in (24, 24, 48)))
        with _client() as client:
            endpoint = self._discover(client)["authorization_endpoint"]
        acr_values = self._section.second_factor_acr
        address = prepare_grant_uri(
            endpoint,
            client_id=self._section.client_id,
            response_type="code",
            redirect_uri=self._back,
            scope=self._section.scope,
            state=flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
            **({"acr_values": " ".join(acr_values)} if acr_values else {}),
        )
        return str(address), flow

    def redeem(self, code: str, flow: LoginFlow, now: datetime) -> OidcIdentity:
        """Exchange a code for an ID token, verify the token, and return the person.

        If the token contains no groups, they are requested from the userinfo endpoint.

        Raises:
            ProviderDownError: the provider does not answer.
            LoginRefusedError: the provider refuses the code, or the token is not valid.
        """
        section = self._section
        with _client() as client:
            metadata = self._discover(client)
            answer = self._fetch_token(client, metadata, code, flow)
            claims = self._verify(answer, _get(client, metadata["jwks_uri"]), flow, now)
            userinfo: dict[str, Any] = {}
            if find_claim(claims, section.groups_claim) is None and "userinfo_endpoint" in metadata:
                userinfo = _get(client, metadata["userinfo_endpoint"], bearer=str(answer.get("access_token", "")))
                if userinfo.get("sub") != claims["sub"]:  # OpenID Connect Core, section 5.3.2
                    raise LoginRefusedError("its userinfo belongs to another person")
        person = read_person(section.issuer, claims, userinfo, section.name_claim, section.groups_claim)
        return OidcIdentity(person, has_used_second_factor(claims, section.second_factor_acr))

    def _discover(self, client: "httpx.Client") -> dict[str, Any]:
        issuer = self._section.issuer
        metadata = _get(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if metadata.get("issuer") != issuer:
            raise ProviderDownError(_OTHER_NAME(name=str(metadata.get("issuer"))[:200], issuer=issuer))
        for name in (*_ENDPOINTS, *(("userinfo_endpoint",) if "userinfo_endpoint" in metadata else ())):
            if not is_safe_for_logins(str(metadata.get(name, ""))):
                raise ProviderDownError(_OPEN_ADDRESS(name=name))
        return metadata

    def _fetch_token(
        self, client: "httpx.Client", metadata: Mapping[str, Any], code: str, flow: LoginFlow
    ) -> dict[str, Any]:
        import httpx

        section = self._section
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": flow.verifier,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        auth = httpx.Auth()
        if section.client_secret and "client_secret_basic" in methods:
            # Id and secret are quoted, as RFC 6749, section 2.3.1 requires.
            auth = httpx.BasicAuth(quote(section.client_id, safe=""), quote(section.client_secret, safe=""))
        else:
            form["client_id"] = section.client_id
            form |= {"client_secret": section.client_secret} if section.client_secret else {}
        try:
            with client.stream("POST", metadata["token_endpoint"], data=form, auth=auth) as response:
                content = read_answer(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderDownError(_NO_ANSWER(problem=type(error).__name__)) from error
        answer = _read_json(response, content)
        if response.status_code != 200:
            raise LoginRefusedError(f"the provider refuses the code: {format_code(answer.get('error'))}")
        return answer

    def _verify(
        self, answer: Mapping[str, Any], keys: Mapping[str, Any], flow: LoginFlow, now: datetime
    ) -> dict[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        section = self._section
        key_list = keys.get("keys")
        usable = [
            key
            for key in (key_list if isinstance(key_list, list) else ())
            if isinstance(key, dict) and key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"
        ]
        try:
            token = jwt.decode(str(answer.get("id_token", "")), KeySet.import_key_set({"keys": usable}), ALGORITHMS)
            options = {
                "iss": {"essential": True, "value": section.issuer},
                "aud": {"essential": True, "value": section.client_id},
                "exp": {"essential": True},
            }
            params = {"nonce": flow.nonce, "client_id": section.client_id, "access_token": answer.get("access_token")}
            claims = CodeIDToken(token.claims, token.header, options, params)
            claims.validate(now=int(now.timestamp()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise LoginRefusedError(f"its ID token is not valid: {_format_fault(error)}") from error
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_LENGTH or not subject.isprintable():
            raise LoginRefusedError("its ID token is not valid: no usable subject")
        return dict(claims)


def format_code(code: object) -> str:
    """Return an error code of the provider if it has the form of RFC 6749, section 5.2.

    >>> format_code("access_denied"), format_code("<b>call 0900 ...</b>")
    ('access_denied', 'without a code')
    """
    return code if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code) else _NO_CODE()


def _format_fault(error: Exception) -> str:
    claim = getattr(error, "claim", None)
    text = " ".join(str(error).split())[:120] or type(error).__name__
    return f"{text} ({claim})" if claim and str(claim) not in text else text


def _client() -> "httpx.Client":
    import httpx

    return httpx.Client(
        timeout=TIMEOUT_S,
        follow_redirects=False,
        headers={"Accept": "application/json", **UNCOMPRESSED_HEADERS},
        verify=_load_certificates(),
    )


@cache
def _load_certificates() -> ssl.SSLContext:
    """Return the trusted certificate authorities. They are read once, because the list is long."""
    import httpx

    return httpx.create_ssl_context()


def _get(client: "httpx.Client", address: str, *, bearer: str = "") -> dict[str, Any]:
    import httpx

    try:
        with client.stream("GET", address, headers={"Authorization": f"Bearer {bearer}"} if bearer else {}) as response:
            content = read_answer(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderDownError(
            _NO_ANSWER_FROM(address=urlsplit(address).netloc, problem=type(error).__name__)
        ) from error
    if response.status_code != 200:
        raise ProviderDownError(_BAD_STATUS(address=urlsplit(address).netloc, status=response.status_code))
    return _read_json(response, content)


def _read_json(response: "httpx.Response", content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or response.status_code >= 500:
        raise ProviderDownError(_NO_JSON(address=response.url.host, status=response.status_code))
    return answer

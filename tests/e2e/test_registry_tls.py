"""Pulls from Debian's docker-registry that wants a password and has a certificate of an authority made on the spot."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci_env.errors import RegistryError
from ci_env.oci.platform import Platform
from ci_env.oci.pull import PulledImage, pull
from ci_env.oci.reference import parse
from ci_env.oci.registries import Registries
from tests.certificates import Authority, authority
from tests.connect_proxy import connect_proxy
from tests.credential_helper import knowing, on_path, write_helper
from tests.layer_directory import LayerDirectory
from tests.oci_builder import f, image, tar, write_layout
from tests.real_registry import PASSWORD, USER, RealRegistry, real_registry

AMD64 = Platform("linux", "amd64")
ONE = image([tar([f("motd", "hello")])])


@dataclass(frozen=True)
class Private:
    registry: RealRegistry
    authority: Authority
    name: str


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Generator[Private]:
    """Give a registry with password and TLS, and the reference of an image in it."""
    path = tmp_path_factory.mktemp("private")
    ours = authority(path / "authority")
    (path / "registry").mkdir()
    with real_registry(path / "registry", has_login=True, tls=ours.sign("server", "IP:0.0.0.0")) as registry:
        name = registry.push(write_layout(path / "layout", {"x": ONE}), "team/app:1")
        yield Private(registry, ours, name)


class Puller:
    def __init__(self, path: Path) -> None:
        self.environment = {"HOME": str(path / "home"), "PATH": on_path(path / "bin")}
        self.path = path
        self.certificates = path / "certs.d"
        self._pulls = 0

    def trust(self, private: Private) -> None:
        private.authority.hand_out(self.certificates / private.registry.host)

    def login(self, host: str, user: str = USER, password: str = PASSWORD) -> Path:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return self.configure({"auths": {host: {"auth": pair}}})

    def configure(self, config: dict[str, object]) -> Path:
        file = self.path / "home/.docker/config.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(config))
        file.chmod(0o600)
        return file

    def pull(self, name: str) -> PulledImage:
        self._pulls += 1
        place = LayerDirectory(self.path / f"layers-{self._pulls}")
        registries = Registries(self.environment, lambda _: None, certificates=self.certificates, pause=lambda _: None)
        with registries.image(parse(name)) as source:
            pulled = pull(source, AMD64, place, lambda _: None)
        assert (place.layer(pulled.chain[0]) / "motd").read_text() == "hello"
        return pulled


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


class TestPasswords:
    def test_from_a_file(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        puller.login(private.registry.host)
        puller.pull(private.name)

    def test_from_the_environment(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        puller.environment |= {
            "CI_ENV_REGISTRY": private.registry.host,
            "CI_ENV_REGISTRY_USER": USER,
            "CI_ENV_REGISTRY_PASSWORD": PASSWORD,
        }
        puller.pull(private.name)

    def test_from_a_helper(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        asked = puller.path / "asked"
        write_helper(puller.path / "bin", "test", knowing(private.registry.host, USER, PASSWORD, asked=asked))
        puller.configure({"credHelpers": {private.registry.host: "test"}})
        puller.pull(private.name)
        assert asked.read_text() == f"get {private.registry.host}\n"

    def test_wrong(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        file = puller.login(private.registry.host, password="wrong-secret")
        with pytest.raises(RegistryError, match=rf"denies access to .*, for user 'ann' \(from {file}\)") as caught:
            puller.pull(private.name)
        assert "wrong-secret" not in str(caught.value)

    def test_missing(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        with pytest.raises(RegistryError, match="wants a login, and none was found for it") as caught:
            puller.pull(private.name)
        assert f"docker login {private.registry.host}" in (caught.value.hint or "")

    def test_what_skopeo_wrote(self, puller: Puller, private: Private) -> None:
        puller.trust(private)
        file = puller.path / "auth.json"
        login = ["skopeo", "login", "--authfile", str(file), "--tls-verify=false", "--username", USER]
        login += ["--password-stdin", private.registry.host]
        subprocess.run(login, input=PASSWORD.encode(), check=True, capture_output=True, timeout=60)
        puller.environment["REGISTRY_AUTH_FILE"] = str(file)
        puller.pull(private.name)


class TestCertificates:
    def test_of_an_unknown_authority(self, puller: Puller, private: Private) -> None:
        with pytest.raises(RegistryError, match=r"no trusted connection to .*certificate verify failed") as caught:
            puller.pull(private.name)
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        assert f"/etc/docker/certs.d/{private.registry.host}/ca.crt" in (caught.value.hint or "")

    def test_ssl_cert_file(self, puller: Puller, private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(private.authority.certificate))
        puller.login(private.registry.host)
        puller.pull(private.name)

    def test_another_registrys_directory_is_no_help(self, puller: Puller, private: Private) -> None:
        private.authority.hand_out(puller.certificates / "0.0.0.0:1")
        with pytest.raises(RegistryError, match="certificate verify failed"):
            puller.pull(private.name)

    def test_for_another_name(self, puller: Puller, tmp_path: Path) -> None:
        ours = authority(tmp_path / "authority")
        (tmp_path / "registry").mkdir()
        with real_registry(tmp_path / "registry", tls=ours.sign("server", "IP:192.0.2.1")) as registry:
            ours.hand_out(puller.certificates / registry.host)
            with pytest.raises(RegistryError, match="IP address mismatch"):
                puller.pull(f"{registry.host}/team/app:1")

    def test_of_clients(self, puller: Puller, tmp_path: Path) -> None:
        ours = authority(tmp_path / "authority")
        clients = ours.hand_out(tmp_path / "clients", ours.sign("client", "DNS:client"))
        (tmp_path / "registry").mkdir()
        server = ours.sign("server", "IP:0.0.0.0")
        with real_registry(tmp_path / "registry", tls=server, clients=clients) as registry:
            name = registry.push(write_layout(tmp_path / "layout", {"x": ONE}), "team/app:1")
            puller.certificates.mkdir()
            (puller.certificates / registry.host).symlink_to(clients)
            puller.pull(name)
            (clients / "client.cert").unlink()
            with pytest.raises(RegistryError, match=r"no trusted connection to .* alert") as caught:
                puller.pull(name)
        assert f"/etc/docker/certs.d/{registry.host}/client.cert" in (caught.value.hint or "")

    def test_plain_http_is_no_way_out(self, puller: Puller, tmp_path: Path) -> None:
        (tmp_path / "registry").mkdir()
        with real_registry(tmp_path / "registry") as registry:
            name = registry.push(write_layout(tmp_path / "layout", {"x": ONE}), "team/app:1")
            with pytest.raises(RegistryError, match=r"no trusted connection") as caught:
                puller.pull(name.replace("127.0.0.1", "0.0.0.0"))
            assert (caught.value.hint or "").startswith("does it speak HTTPS there?")
            puller.pull(name)


class TestProxies:
    @pytest.fixture(autouse=True)
    def _no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)

    def test_with_a_password(self, puller: Puller, private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
        puller.trust(private)
        puller.login(private.registry.host)
        with connect_proxy("proxy user", "p@ss") as proxy:
            monkeypatch.setenv("https_proxy", f"http://proxy%20user:p%40ss@{proxy.host}")
            puller.pull(private.name)
        assert {request.partition("\n")[0] for request in proxy.requests} == {private.registry.host}
        assert not any("\nAuthorization" in request for request in proxy.requests)

    def test_that_refuses(self, puller: Puller, private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
        with connect_proxy("user", "right") as proxy:
            monkeypatch.setenv("https_proxy", f"http://user:wrong-secret@{proxy.host}")
            with pytest.raises(RegistryError, match=r"the proxy to .* failed: .*407") as caught:
                puller.pull(private.name)
        assert "wrong-secret" not in caught.value.message
        assert caught.value.hint == "check https_proxy and no_proxy"

    def test_no_proxy(self, puller: Puller, private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
        puller.trust(private)
        puller.login(private.registry.host)
        with connect_proxy("user", "right") as proxy:
            monkeypatch.setenv("all_proxy", f"http://{proxy.host}")
            monkeypatch.setenv("no_proxy", "r.example,0.0.0.0")
            puller.pull(private.name)
        assert proxy.requests == []

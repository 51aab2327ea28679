"""Settings: file < environment < flag, and what is unknown or bad is named."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import SettingError, Settings, describe, load, overridden
from gateway.values import Address, Duration, Size

# For each setting three values as they are written, and as they are read.
VALUES: dict[str, list[tuple[str, Any]]] = {
    "store": [("memory:", "memory:"), ("file:/x", "file:/x"), ("s3://bucket/prefix", "s3://bucket/prefix")],
    "listen": [
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:5000", Address("::1", 5000)),
        ("localhost:0", Address("localhost", 0)),
    ],
    "workers": [("2", 2), ("3", 3), ("256", 256)],
    "single_writer": [("true", True), ("false", False), ("1", True)],
    "blob_delivery": [("redirect", "redirect"), ("proxy", "proxy"), ("auto", "auto")],
    "public_s3_endpoint": [("https://a", "https://a"), ("http://b:1", "http://b:1"), ("https://c", "https://c")],
    "allow_sparse": [("true", True), ("false", False), ("1", True)],
    "max_manifest_bytes": [("1MiB", 1024**2), ("5000", 5000), ("8KiB", 8192)],
    "upload_expiry": [("1h", 3600.0), ("90m", 5400.0), ("2d", 172800.0)],
    "grace": [("2h", 7200.0), ("90m", 5400.0), ("2d", 172800.0)],
    "testing_short_grace": [("true", True), ("false", False), ("1", True)],
    "gc_every": [("24h", 86400.0), ("1m", 60.0), ("0s", 0.0)],
    "record_pulls": [("false", False), ("true", True), ("0", False)],
    "cache_bytes": [("1GiB", 1024**3), ("0", 0), ("2TiB", 2 * 1024**4)],
    "max_blob_bytes": [("1GiB", 1024**3), ("4KiB", 4096), ("10TiB", 10 * 1024**4)],
    "max_requests": [("0", 0), ("1", 1), ("5000", 5000)],
    "max_requests_per_client": [("1", 1), ("2", 2), ("50", 50)],
    "max_connections": [("1", 1), ("2", 2), ("50", 50)],
    "header_timeout": [("1s", 1.0), ("2m", 120.0), ("1h", 3600.0)],
    "body_timeout": [("1s", 1.0), ("2m", 120.0), ("1h", 3600.0)],
    "min_rate": [("0", 0), ("10KiB", 10240), ("1MiB", 1024**2)],
    "keep_alive": [("1s", 1.0), ("10m", 600.0), ("2h", 7200.0)],
    "drain_delay": [("0s", 0.0), ("5s", 5.0), ("1m", 60.0)],
    "shutdown_grace": [("0s", 0.0), ("10s", 10.0), ("5m", 300.0)],
    "metrics_listen": [
        ("0.0.0.0:9090", Address("0.0.0.0", 9090)),
        ("[::1]:9090", Address("::1", 9090)),
        ("localhost:0", Address("localhost", 0)),
    ],
    "access_log": [("false", False), ("true", True), ("0", False)],
    "log_format": [("json", "json"), ("text", "text"), ("auto", "auto")],
}
BAD = {
    "listen": ["5000", "", ":5000", "a:b", "a:65536", "a:-1", "a:\u0661"],
    "workers": ["0", "257", "two", "", "1.5"],
    "single_writer": ["maybe", ""],
    "blob_delivery": ["REDIRECT", "", "both"],
    "allow_sparse": ["maybe", ""],
    "public_s3_endpoint": [
        *(
            "nonsense",
            "http://",
            "http://host:port",
            "http://%zz",
            "http://[::1]:99999",
            "http://[::g]",
            "http://1.2.3.4.5",
        ),
        *("http://user:pw@host", "https://user@host:1"),
    ],
    "max_manifest_bytes": ["0", "4095", "129MiB", "-1", "4MB", "4 MiB", "", "1e6", "\u0661"],
    "upload_expiry": ["0s", "59s", "3651d", "48", "-1h", "1w", "", "h", "1.5h"],
    "grace": ["999999999d", "48", "59m", "10s", "0s"],
    "testing_short_grace": ["maybe"],
    "gc_every": ["999999999d", "24", "daily", ""],
    "cache_bytes": ["lots"],
    "max_blob_bytes": ["0", "4095"],
    "max_requests": ["-1", "many"],
    "max_connections": ["0"],
    "header_timeout": ["15", "0s", "25h"],
    "body_timeout": ["0s", "25h"],
    "min_rate": ["17MiB", "1TiB"],
    "keep_alive": ["0s", "25h"],
    "drain_delay": ["25h"],
    "shutdown_grace": ["25h"],
    "metrics_listen": ["9090", ":9090", "", "off"],
    "access_log": ["maybe"],
    "log_format": ["xml"],
}
NAMES = list(Settings.__struct_fields__)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a moorage.toml that it did not write."""
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_tested_here() -> None:
    """A new setting needs values in this module."""
    assert list(VALUES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_file_then_environment_then_flag(name: str, tmp_path: Path) -> None:
    """Each setting is taken from the file, rather from the environment, and rather still from its flag."""
    (in_file, read), (in_environment, read_2), (in_flag, read_3) = VALUES[name]
    Path("moorage.toml").write_text(f'{name} = "{in_file}"')
    environment = {f"MOORAGE_{name.upper()}": in_environment, "PATH": "/bin"}
    assert getattr(load({}, {}, None), name) == read
    assert getattr(load({name: None}, environment, None), name) == read_2
    assert getattr(load({name: in_flag}, environment, None), name) == read_3
    others = set(NAMES) - {name}
    loaded = load({name: in_flag}, environment, None)
    assert all(getattr(loaded, other) == getattr(Settings(), other) for other in others)


def test_what_overrides_the_file_is_told() -> None:
    """A setting of the file that does not count MUST be named, with what counts; one that is said twice alike need not be."""
    Path("moorage.toml").write_text(
        'store = "s3://b"\nlisten = "127.0.0.1:1"\nworkers = 2\nmin_rate = "0"\naccess_log = "x"\n'
    )
    environment = {
        "MOORAGE_STORE": "file:/x",
        "MOORAGE_LISTEN": "[::]:1",
        "MOORAGE_WORKERS": "2",
        "MOORAGE_MIN_RATE": "0KiB",
    }
    flags = {"listen": "[::]:2", "access_log": True, "log_format": "json", "grace": None}
    assert list(overridden(flags, environment, None)) == [
        "MOORAGE_STORE in the environment overrides store in moorage.toml",
        "--listen overrides listen in moorage.toml",
        "--access-log overrides access_log in moorage.toml",
    ]


def test_a_file_may_have_values_of_its_own_types() -> None:
    """Numbers and booleans need no quotes in TOML."""
    Path("moorage.toml").write_text("workers = 4\nallow_sparse = true\nmax_manifest_bytes = 9000\n")
    assert load({}, {}, None) == Settings(workers=4, allow_sparse=True, max_manifest_bytes=Size(9000))


def test_another_file(tmp_path: Path) -> None:
    """The file that is named is read instead of moorage.toml, and has to be there."""
    Path("moorage.toml").write_text("workers = 4")
    other = tmp_path / "other.toml"
    other.write_text("workers = 5")
    assert load({}, {}, other).workers == 5
    with pytest.raises(SettingError, match=r"missing\.toml cannot be read"):
        load({}, {}, tmp_path / "missing.toml")
    with pytest.raises(SettingError, match="cannot be read"):
        load({}, {}, tmp_path)


def test_without_anything() -> None:
    """The defaults."""
    assert load({}, {}, None) == Settings()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_named_by_where_it_came_from(name: str, value: str) -> None:
    """In one line that says which file, variable or flag it is."""
    Path("moorage.toml").write_text(f'{name} = "{value}"')
    variable, flag = f"MOORAGE_{name.upper()}", "--" + name.replace("_", "-")
    for origin, flags, environment in (
        (f"{name} in moorage.toml", {}, {}),
        (variable, {}, {variable: value}),
        (flag, {name: value}, {}),
    ):
        with pytest.raises(SettingError) as caught:
            load(flags, environment, None)
        assert str(caught.value).startswith(f"{origin}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("workers", "0", "--workers: it is at least 1"),
        ("workers", "257", "--workers: it is at most 256"),
        ("workers", "two", "--workers: it is a whole number, not 'two'"),
        ("blob_delivery", "both", "--blob-delivery: it is auto, redirect or proxy, not 'both'"),
        ("access_log", "maybe", "--access-log: it is true or false, not 'maybe'"),
        ("keep_alive", "0s", "--keep-alive: it is at least 1s"),
        ("max_manifest_bytes", "1TiB", "--max-manifest-bytes: it is at most 128MiB"),
        ("upload_expiry", "1s", "--upload-expiry: an upload session lasts for at least 1m"),
        ("public_s3_endpoint", "http://a:secret@b", "--public-s3-endpoint: a URL has no user and password here: "),
    ],
)
def test_a_bound_is_named(name: str, value: str, words: str) -> None:
    """The sentence says what a value may be, and never shows a password."""
    with pytest.raises(SettingError) as caught:
        load({name: value}, {}, None)
    assert str(caught.value).startswith(words)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grace", "1h"),
        ("upload_expiry", "1m"),
        ("gc_every", "3650d"),
        ("max_manifest_bytes", "4KiB"),
        ("max_manifest_bytes", "128MiB"),
        ("workers", "256"),
        ("listen", "x:65535"),
    ],
)
def test_a_bound_itself_is_taken(name: str, value: str) -> None:
    """What is at least or at most so much may be just that."""
    assert getattr(load({name: value}, {}, None), name) != getattr(Settings(), name)


def test_periods_are_those_of_the_settings() -> None:
    """Grace and expiry MUST each go where they belong, shortened or not."""
    for shortened in (False, True):
        periods = Settings(grace=Duration(7200), upload_expiry=Duration(10800), testing_short_grace=shortened).periods()
        assert (periods.grace, periods.upload_expiry) == (7200, 10800)


@pytest.mark.parametrize(
    "url", ["http://[::1]:9000", "https://a.b-c.example:443/x", "http://127.0.0.1", "http://a_b", "https://a/@b"]
)
def test_urls(url: str) -> None:
    """Names, addresses, ports and paths are taken as they are."""
    assert load({"public_s3_endpoint": url}, {}, None).public_s3_endpoint == url


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "x in moorage.toml: there is no such setting"),
        ("x = " + "[" * 5_000, "moorage.toml cannot be read: "),
        ("[serve]\nworkers = 1", "serve in moorage.toml: there is no such setting"),
        ("workers = [1]", "workers in moorage.toml: "),
        ("store = 5", "store in moorage.toml: "),
        ("workers = true", "workers in moorage.toml: "),
        ("workers = ", "moorage.toml cannot be read: "),
        ("workers = 1\nworkers = 2", "moorage.toml cannot be read: "),
    ],
)
def test_a_bad_file(content: str, words: str) -> None:
    """What is unknown or cannot be read is said in one line."""
    Path("moorage.toml").write_text(content)
    with pytest.raises(SettingError) as caught:
        load({}, {}, None)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["MOORAGE_X", "MOORAGE_", "MOORAGE_STORES", "MOORAGE_BLOB-DELIVERY"])
def test_an_unknown_variable(name: str) -> None:
    """MOORAGE_ is ours: a typing error there is no silent default."""
    with pytest.raises(SettingError, match=f"^{name}: there is no such setting$"):
        load({}, {name: "1"}, None)


@pytest.mark.parametrize("service", ["MOORAGE", "MOORAGE_METRICS", "MOORAGE_2"])
def test_what_kubernetes_tells_is_no_setting(service: str) -> None:
    """A service that is called moorage, or moorage- and more, MUST not keep a gateway in its namespace from starting."""
    told = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "5000",
        "SERVICE_PORT_HTTP": "5000",
        "PORT": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP_ADDR": "10.0.0.1",
    }
    assert load({}, {f"{service}_{name}": value for name, value in told.items()}, None) == load({}, {}, None)
    with pytest.raises(SettingError, match=rf"^{service}_PORT: there is no such setting$"):
        load({}, {f"{service}_PORT": "5000"}, None)


@pytest.mark.parametrize("name", NAMES)
def test_no_setting_is_taken_for_kubernetes_s(name: str) -> None:
    """Whatever the value of a real setting, even one of those of Kubernetes, it is taken or refused, and never passed over."""
    with suppress(SettingError):
        assert load({}, {f"MOORAGE_{name.upper()}": "tcp://10.0.0.1:5000"}, None) != Settings()


def test_what_describes_a_setting() -> None:
    """Each has a description without a full stop, and a default that reads back as itself."""
    for info in describe():
        assert info.description
        assert not info.description.endswith(".")
        assert "|" not in info.description + info.kind + info.default
        if info.default:
            assert getattr(load({info.name: info.default}, {}, None), info.name) == getattr(Settings(), info.name)


def test_settings_are_data() -> None:
    """They go to worker processes and stay as they are."""
    with pytest.raises(AttributeError):
        msgspec.structs.replace(Settings(), workers=2).workers = 3  # type: ignore[misc]


@given(st.integers(0, 10**9 - 1), st.sampled_from("smhd"))
def test_durations(number: int, unit: str) -> None:
    """A number and a unit."""
    assert float(Duration.parse(f"{number}{unit}")) == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@given(st.integers(0, 10**18 - 1), st.sampled_from(["", "KiB", "MiB", "GiB", "TiB"]))
def test_sizes(number: int, unit: str) -> None:
    """A number and a power of 1024."""
    assert Size.parse(f"{number}{unit}") == number * 1024 ** ["", "KiB", "MiB", "GiB", "TiB"].index(unit)


@given(
    st.sampled_from(["localhost", "127.0.0.1", "::1", "fe80::1%eth0", "registry.example.com"]), st.integers(0, 65535)
)
def test_addresses(host: str, port: int) -> None:
    """What is written reads back."""
    address = Address(host, port)
    assert Address.parse(str(address)) == address

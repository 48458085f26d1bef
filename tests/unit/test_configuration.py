"""Settings: one definition, four sources in order, and a start that stops at what it does not know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.app.config import SUN_PATH_MAX, Config, all_fields
from server.app.sources import ConfigError, load
from server.app.values import HostPort


def write(folder: Path, text: str) -> Path:
    file = folder / "kongzhong.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_flag_goes_before_variable_before_file_before_default(tmp_path: Path) -> None:
    write(tmp_path, 'http = "127.0.0.1:1"\nmedia = "127.0.0.1:1"\naway = 1\n')
    environment = {"KONGZHONG_HTTP": "127.0.0.1:2", "KONGZHONG_MEDIA": "127.0.0.1:2"}
    loaded = load({"data": str(tmp_path), "http": "127.0.0.1:3"}, environment)
    assert loaded.config.http == HostPort("127.0.0.1", 3)
    assert loaded.config.media == HostPort("127.0.0.1", 2)
    assert loaded.config.away == 1.0
    assert loaded.config.lease == 5.0
    assert [loaded.origins[name] for name in ("http", "media", "away", "lease")] == [
        "flag",
        "env",
        f"{tmp_path}/kongzhong.toml:3",
        "default",
    ]


def test_every_setting_has_one_name_in_three_spellings_and_both_languages() -> None:
    for name, field in all_fields().items():
        assert field.flag == f"--{name.replace('_', '-')}"
        assert field.variable == f"KONGZHONG_{name.upper()}"
        assert all(field.setting.help)
        assert bool(field.setting.promise[0]) == bool(field.setting.promise[1])


@pytest.mark.parametrize("name", all_fields())
def test_every_default_survives_being_written_into_a_file(name: str, tmp_path: Path) -> None:
    field = all_fields()[name]
    if field.default is None or name == "data" or name == "role":
        return
    if field.repeatable:
        literal = "[]"
    elif field.kind == "number":
        literal = str(field.default)
    else:
        literal = f'"{field.default}"'
    file = write(tmp_path, f"{field.key} = {literal}\n")
    assert getattr(load({}, {}, str(file)).config, name) == field.default


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('# a comment\n\nhtpp = "x"\n', 3, "did you mean http"),
        ('cors = [\n  "https://a.example",\n]\nnonsense = 1\n', 4, "unknown key 'nonsense'"),
        ('[server]\nhttp = "127.0.0.1:1"\n', 1, "unknown key 'server'"),
        ("http = 8080\n", 1, "wanted a string, got a number"),
        ('away = "long"\n', 1, "wanted a number, got a string"),
        ("away = true\n", 1, "wanted a number, got a boolean"),
        ('cors = "https://a.example"\n', 1, "wanted a list of strings, got a string"),
        ("\n\naway = 0\n", 3, "more than 0"),
        ('http = "8080"\n', 1, "wanted HOST:PORT"),
        ('announce = ["school.example"]\n', 1, "wanted an IP address"),
        ('role = "relais"\n', 1, "wanted one of all, signaling, relay, recorder"),
        ('http = "127.0.0.1:1"\nhttp = "127.0.0.1:2"\n', 2, "not TOML"),
        ("away = = 3\n", 1, "not TOML"),
        ('title = """\naway\n"""\n', 1, "unknown key 'title'"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load({"data": str(tmp_path)}, {})
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_variable_of_ours_is_refused_and_others_are_none_of_our_business() -> None:
    load({}, {"PATH": "/bin", "KONGZHON": "x"})
    with pytest.raises(ConfigError, match=r"KONGZHONG_HTPP: unknown variable \(did you mean KONGZHONG_HTTP"):
        load({}, {"KONGZHONG_HTPP": "127.0.0.1:1"})


def test_settings_that_exclude_or_need_one_another_are_said() -> None:
    with pytest.raises(ConfigError, match="given together"):
        load({"tls_cert": "a.pem"}, {})
    with pytest.raises(ConfigError, match="needs redis"):
        load({"role": "relay"}, {})
    with pytest.raises(ConfigError, match="give a role"):
        load({"redis": "redis://127.0.0.1:6379"}, {})


def test_a_repeatable_setting_comes_as_a_list_as_words_and_as_flags(tmp_path: Path) -> None:
    file = write(tmp_path, 'announce = ["192.0.2.1", "2001:db8::1"]\n')
    wanted = ("192.0.2.1", "2001:db8::1")
    assert load({}, {}, str(file)).config.announce == wanted
    assert load({}, {"KONGZHONG_ANNOUNCE": "192.0.2.1 2001:db8::1"}).config.announce == wanted
    assert load({"announce": wanted}, {}).config.announce == wanted


def test_a_path_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'tls-cert = "cert.pem"\ntls-key = "/etc/key.pem"\n')
    config = load({}, {}, str(file)).config
    assert config.tls_cert == tmp_path / "cert.pem"
    assert config.tls_key == Path("/etc/key.pem")


def test_a_named_file_that_is_not_there_is_an_error_and_a_default_one_is_not(tmp_path: Path) -> None:
    load({"data": str(tmp_path)}, {})
    with pytest.raises(ConfigError, match="No such file"):
        load({}, {}, str(tmp_path / "other.toml"))
    with pytest.raises(ConfigError, match="No such file"):
        load({}, {"KONGZHONG_CONFIG": str(tmp_path / "other.toml")})


def test_ipv6_addresses_stand_in_brackets() -> None:
    assert load({"http": "[::1]:8080"}, {}).config.http == HostPort("::1", 8080)
    assert load({"http": "[::1]:8080"}, {}).config.base_url == "http://[::1]:8080"
    with pytest.raises(ConfigError, match="in brackets"):
        load({"http": "::1:8080"}, {})


def test_a_deep_data_folder_gets_a_tap_socket_that_fits() -> None:
    deep = Config(data=Path("/" + "d" * 200)).tap_address.removeprefix("unix:")
    assert len(os.fsencode(deep)) <= SUN_PATH_MAX
    assert Config(data=Path("/srv/kongzhong")).tap_address == "unix:/srv/kongzhong/run/tap.sock"


def kongzhong(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("KONGZHONG_")} | environment
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments], capture_output=True, text=True, env=env, timeout=60, check=False
    )


def test_config_prints_value_origin_and_promise_of_every_setting_and_no_secret(tmp_path: Path) -> None:
    write(tmp_path, "away = 30\n")
    done = kongzhong(
        *("config", "--data", str(tmp_path), "--role", "relay", "--redis", "redis://user:hunter2@redis.example:6379/0"),
        KONGZHONG_HTTP="127.0.0.1:9",
        LC_ALL="C.UTF-8",
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(rows) >= {field.key for field in all_fields().values()}
    assert "flag" in rows["role"] and "env" in rows["http"] and "kongzhong.toml:1" in rows["away"]
    assert "LAN" in rows["tls"]
    assert "hunter2" not in done.stdout and "redis://user:***@redis.example:6379/0" in rows["redis"]


def test_config_speaks_chinese_where_the_locale_does(tmp_path: Path) -> None:
    done = kongzhong("config", "--data", str(tmp_path), LC_ALL="zh_CN.UTF-8", PYTHONIOENCODING="utf-8")
    assert "设置" in done.stdout and "备份这一个文件夹就够了" in done.stdout


def test_a_bad_password_url_is_not_repeated_in_the_error() -> None:
    done = kongzhong("config", "--redis", "http://user:hunter2@x")
    assert done.returncode == 2
    assert "hunter2" not in done.stderr + done.stdout
    assert done.stderr.count("\n") == 1


def test_token_and_lesson_print_one_thing_each_and_fit_together(tmp_path: Path) -> None:
    from signaling.store import LessonStore
    from signaling.tokens import Tokens, load_or_make_secret

    lesson = kongzhong("lesson", "create", "--title", "分数的初步认识", "--data", str(tmp_path)).stdout.strip()
    done = kongzhong("token", "--lesson", lesson, "--role", "classroom", "--seat", "三(2)班", "--data", str(tmp_path))
    assert done.stdout.count("\n") == 1
    claims = Tokens(load_or_make_secret(tmp_path)).verify(done.stdout.strip())
    assert (claims.lesson, claims.role, claims.seat) == (lesson, "classroom", "三(2)班")
    store = LessonStore(tmp_path / "lessons.db")
    found = store.get(lesson)
    store.close()
    assert found is not None and found.title == "分数的初步认识"

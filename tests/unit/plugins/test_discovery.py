"""Filters that are installed, and those that pretend to be."""

import json
import os
import subprocess
import sys
import textwrap
from datetime import timedelta

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from fastgate import Catalog, ConfigMapRef, Duration, Error, Filter, SecretRef
from fastgate.plugins import values
from fastgate.plugins.discovery import FilterType, PluginProblem

GOOD = """
    import fastgate
    class {name}(fastgate.Filter):
        {more}
        def on_request(self, request, context):
            pass
"""


def good(name, more="pass"):
    return textwrap.dedent(GOOD).format(name=name, more=more)


def problem(catalog, name, config=None):
    found = catalog.check(name, config)
    assert isinstance(found, PluginProblem), found
    assert found.reason == "InvalidType"
    return found.message


def test_a_filter_is_imported_when_it_is_used(install):
    install("dist-a", {"Alpha": "mod_a:Alpha"}, mod_a=good("Alpha", "buffer_body = 100"))
    install("dist-b", {"Beta": "mod_b:Beta"}, mod_b=good("Beta"))
    catalog = Catalog()
    assert {"Alpha", "Beta"} <= set(catalog.names())
    assert ("dist-a", "Alpha", "mod_a:Alpha") in [(i.distribution, i.name, i.value) for i in catalog.installed()]
    assert "mod_a" not in sys.modules
    found = catalog.check("Alpha", {})
    assert isinstance(found, FilterType)
    assert (found.type, found.phases, found.buffer_body) == ("Alpha", {"request"}, 100)
    assert found.cls is sys.modules["mod_a"].Alpha
    assert found is catalog.check("Alpha")
    assert found.cls is catalog.check("dist_A/Alpha").cls
    assert "mod_b" not in sys.modules


def test_a_filter_that_is_not_there_may_be_misspelt(install):
    install("dist-a", {"Alpha": "mod_a:Alpha"}, mod_a=good("Alpha"))
    message = problem(Catalog(), "Alphi")
    assert message.startswith("no filter of type Alphi is installed, only ")
    assert "Alpha (dist-a)" in message
    assert message.endswith("; did you mean Alpha?")
    assert problem(Catalog(), "dist-b/Alpha").startswith("no filter of type dist-b/Alpha is installed")
    assert problem(Catalog(installed=False), "Alpha") == "no filter of type Alpha is installed, nor any other"


def test_duplicates_name_both_and_are_told_apart(install):
    install("dist-a", {"Same": "mod_a:Same"}, mod_a=good("Same"))
    install("dist-b", {"Same": "mod_b:Same"}, mod_b=good("Same"))
    catalog = Catalog()
    message = problem(catalog, "Same")
    assert "dist-a" in message
    assert "dist-b" in message
    assert "dist-a/Same" in message
    assert {"dist-a/Same", "dist-b/Same"} <= set(catalog.names())
    assert "mod_a" not in sys.modules
    assert catalog.check("dist-b/Same").cls is sys.modules["mod_b"].Same


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('odd')", "RuntimeError: odd"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("this is no Python", "SyntaxError"),
        ("x = 1", "AttributeError"),
        ("import fastgate\nclass Bad(fastgate.Filter):\n    def on_banana(self): pass", "on_banana is no phase"),
    ],
)
def test_a_failing_import_disables_its_distribution(install, text, said):
    install("dist-bad", {"Bad": "mod_bad:Bad", "Fine": "mod_fine:Fine"}, mod_bad=text, mod_fine=good("Fine"))
    install("dist-good", {"Good": "mod_good:Good"}, mod_good=good("Good"))
    for first in ("Bad", "Fine"):  # in any order
        catalog = Catalog()
        for name in (first, "Bad", "Fine"):
            message = problem(catalog, name)
            assert message.startswith("distribution dist-bad is disabled: mod_bad:Bad cannot be imported: ")
            assert said in message
        assert isinstance(catalog.check("Good"), FilterType)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Odd = 1", "Odd is a int, not a class derived from fastgate.Filter"),
        ("class Odd: pass", "Odd is Odd, not a class derived from fastgate.Filter"),
        ("import fastgate\nclass Odd(fastgate.Filter): pass", "Odd overrides no phase and would never be called"),
        (good("Odd", "fastgate_api = '2'"), "Odd cannot run here: it needs plugin API 2, and this is 1.0"),
        (good("Odd", "fastgate_api = '1.7'"), "Odd cannot run here: it needs plugin API 1.7, and this is 1.0"),
        (good("Odd", "fastgate_api = 1"), "fastgate_api is a version"),
        (good("Odd") + "\nfastgate_api = '9'", "it needs plugin API 9"),
        (
            "import fastgate, typing\nT = typing.TypeVar('T', bound=fastgate.NoConfig)\n"
            "class Odd(fastgate.Filter[T], typing.Generic[T]):\n    def on_request(self, a, b): pass",
            "Odd leaves its configuration open",
        ),
    ],
)
def test_what_is_no_filter_disables_itself_only(install, text, said):
    install("dist-odd", {"Odd": "mod_odd:Odd", "Fine": "mod_fine:Fine"}, mod_odd=text, mod_fine=good("Fine", "x = 1"))
    catalog = Catalog()
    assert said in problem(catalog, "Odd")
    assert isinstance(catalog.check("Fine"), FilterType)


# --- configurations --------------------------------------------------------------------------------------------------


class Limits(BaseModel):
    rate: int = 10
    token: SecretRef | None = None


class Config(BaseModel):
    header: str = Field(default="x-a", alias="headerName")
    limits: list[Limits] = []
    motd: ConfigMapRef = ConfigMapRef(name="texts", key="motd")


class Given(Filter[Config]):
    def on_request(self, request, context):
        pass


def configured_by(model):
    class Configured(Filter[model]):
        def on_log(self, request, context, response):
            pass

    return Configured


CATALOG = Catalog({"Given": Given}, installed=False)


def test_classes_that_are_given():
    found = CATALOG.check("Given", {})
    assert (found.type, found.cls, found.config_model) == ("Given", Given, Config)
    assert CATALOG.names() == ["Given"]
    assert CATALOG.installed() == []


def test_the_canonical_configuration_has_defaults_and_names_of_fields():
    found = CATALOG.check("Given", {})
    canonical = found.validated({"headerName": "x-b", "limits": [{"token": {"name": "s", "key": "k"}}]})
    assert canonical == {
        "header": "x-b",
        "limits": [{"rate": 10, "token": {"name": "s", "key": "k"}}],
        "motd": {"name": "texts", "key": "motd"},
    }
    assert found.validated(None)["header"] == "x-a"
    assert found.instance(canonical).config.header == "x-b"


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"header": "x"}, ("header",)),
        ({"headerName": 1}, ("headerName",)),
        ({"limits": [{"rates": 1}]}, ("limits", 0, "rates")),
        ({"motd": {"name": "x", "key": "y", "value": "aGk="}}, ("motd", "value")),
        ({"motd": {"name": "x"}}, ("motd", "key")),
    ],
)
def test_a_wrong_configuration_says_where(config, path):
    found = CATALOG.check("Given", config)
    with pytest.raises(ValidationError) as raised:
        found.validated(config)
    assert raised.value.errors()[0]["loc"] == path


def test_a_model_decides_about_unknown_fields():
    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")

    cls = configured_by(Loose)
    assert Catalog({"Open": cls}).check("Open").validated({"any": 1}) == {"any": 1}


SETS = """
import json
from pydantic import BaseModel, ConfigDict, RootModel
from fastgate.plugins.values import canonical
class Pair(BaseModel):
    model_config = ConfigDict(frozen=True)
    names: frozenset[str]
class Names(RootModel[set[str]]):
    pass
class Config(BaseModel):
    names: set[str]
    deep: dict[str, list[frozenset[str | int]]]
    pairs: set[Pair]
    root: Names
words = {"b", "a", "d", "c", "e"}
pairs = {Pair(names=frozenset("xyz")), Pair(names=frozenset("uvw"))}
print(json.dumps(canonical(Config(names=words, deep={"x": [frozenset(("a", "b", 3, 1))]}, pairs=pairs, root=words))))
"""


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_sets_are_written_in_the_same_order_by_every_process(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run([sys.executable, "-c", SETS], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "names": ["a", "b", "c", "d", "e"],
        "deep": {"x": [["a", "b", 1, 3]]},
        "pairs": [{"names": ["u", "v", "w"]}, {"names": ["x", "y", "z"]}],
        "root": ["a", "b", "c", "d", "e"],
    }


class Timed(BaseModel):
    wait: Duration = timedelta(seconds=90)
    most: Duration | None = Field(default=None, gt=timedelta(0))


def test_durations_are_written_as_gateway_api_writes_them():
    found = Catalog({"Timed": configured_by(Timed)}).check("Timed")
    assert found.validated({}) == {"wait": "1m30s", "most": None}
    canonical = found.validated({"wait": "250ms", "most": "1h"})
    assert canonical == {"wait": "250ms", "most": "1h"}
    config = found.instance(canonical).config
    assert (config.wait, config.most) == (timedelta(milliseconds=250), timedelta(hours=1))
    assert found.config_model.model_json_schema()["properties"]["wait"]["type"] == "string"


@pytest.mark.parametrize("wrong", ["1", 1, 1.5, "1d", "-1s", "1s\n", "1s1s1s1s1s", None, True])
def test_what_is_no_duration_is_refused(wrong):
    with pytest.raises(ValidationError, match="must be a duration of whole numbers with units, such as 1h30m"):
        Timed.model_validate({"wait": wrong})


def test_durations_have_bounds():
    with pytest.raises(ValidationError, match="greater than"):
        Timed.model_validate({"most": "0s"})


def test_a_model_that_fails_is_a_problem_of_the_type():
    class Failing(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def _fail(cls, value):
            raise RuntimeError(f"odd {value}")

    cls = configured_by(Failing)
    catalog = Catalog({"Failing": cls}, installed=False)
    assert isinstance(catalog.check("Failing", {}), FilterType)
    assert problem(catalog, "Failing", {"a": 1}) == "the configuration model of Failing failed: RuntimeError: odd 1"


def test_secrets_belong_in_secrets():
    class Leaky(BaseModel):
        password: SecretStr = SecretStr("")

    cls = configured_by(Leaky)
    found = Catalog({"Leaky": cls}).check("Leaky", {"password": "hush"})
    with pytest.raises(ValidationError, match=r"password is a secret .* let it be a fastgate\.SecretRef") as raised:
        found.validated({"password": "hush"})
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("model", [SecretStr, SecretRef])
def test_neither_secrets_nor_references_stand_in_sets(model):
    class Odd(BaseModel):
        values: set[model]

    value = "hush" if model is SecretStr else {"name": "s", "key": "k"}
    found = Catalog({"Odd": configured_by(Odd)}).check("Odd", {"values": [value]})
    with pytest.raises(ValidationError, match=r"is a secret in a configuration|let it be a list"):
        found.validated({"values": [value]})


# --- values of Secrets and ConfigMaps --------------------------------------------------------------------------------


def test_references_are_found_and_resolved():
    found = CATALOG.check("Given", {})
    token = {"name": "s", "key": "k", "namespace": "other"}
    canonical = found.validated({"limits": [{}, {"token": token}]})
    references = found.references(canonical)
    assert [(path, ref.kind, ref.name, ref.key, ref.namespace) for path, ref in references] == [
        (("limits", 1, "token"), "Secret", "s", "k", "other"),
        (("motd",), "ConfigMap", "texts", "motd", None),
    ]
    resolved = values.resolve(canonical, {("limits", 1, "token"): b"\xff\0", ("motd",): "ä".encode()})
    assert resolved["limits"][1]["token"] == {**token, "value": "/wA="}
    config = found.instance(resolved).config
    assert config.limits[1].token.raw == b"\xff\0"
    assert config.motd.value == "ä"
    assert canonical["motd"] == {"name": "texts", "key": "motd"}


def test_values_are_not_shown():
    config = Config(motd=ConfigMapRef.of("hush"), limits=[Limits(token=SecretRef.of(b"hush"))])
    assert config.limits[0].token.value == "hush"
    for shown in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert "hush" not in shown
        assert "aHVzaA" not in shown
    canonical = values.canonical(config)
    assert canonical["motd"]["value"] == "aHVzaA=="
    shown = values.redacted(json.dumps(canonical))
    assert "aHVzaA" not in shown
    assert shown.count("[redacted]") == 2
    assert json.loads(shown)["header"] == "x-a"


def test_a_reference_without_value_says_so():
    with pytest.raises(Error, match="key k of Secret s is not resolved"):
        _ = SecretRef(name="s", key="k").value


@pytest.mark.parametrize("cls", [dict, Filter, print])
def test_classes_that_cannot_be_given(cls):
    with pytest.raises(TypeError, match="Odd"):
        Catalog({"Odd": cls})

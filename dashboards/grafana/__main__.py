from . import FOLDER, generated

for path in (FOLDER / "json").glob("*.json"):
    path.unlink()
for path, content in generated().items():
    path.write_text(content)
    print(path.relative_to(FOLDER.parent.parent))

"""A study's page goes into the documentation without paths of the machine it was made on."""

import pytest

from benchmarks.paste_study import pasted

PAGE = """# Title

```bash
wsi-specdec study marks --data here/images --out here/out --workers 2
```

![A curve](figures/curve.png)

## Results
"""
DOCUMENT = "# Marks\n\n## Results\n\n<!-- results -->\nold\n<!-- /results -->\n\n## Limits\n"


def test_the_page_takes_the_place_of_the_former_one() -> None:
    text = pasted(DOCUMENT, PAGE, "marks")
    assert "old" not in text
    assert "--data FOLDER --out OUT --workers 2" in text
    assert "![A curve](figures/marks_curve.png)" in text
    assert "\n### Results\n" in text
    assert text.startswith("# Marks\n\n## Results\n")
    assert text.endswith("<!-- /results -->\n\n## Limits\n")
    assert pasted(text, PAGE, "marks") == text


def test_the_built_in_images_keep_their_name() -> None:
    assert "--data breast --out OUT" in pasted(
        DOCUMENT, PAGE.replace("here/images", "breast"), "marks"
    )


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- results -->"):
        pasted("# Marks\n", PAGE, "marks")


def test_a_picture_that_may_not_be_shared_is_left_out() -> None:
    shown = "![Tiles](figures/tiles.png)\n\nTiles of a patient.\n\n"
    text = pasted(
        DOCUMENT, PAGE.replace("## Results", shown + "## Results"), "marks", ["tiles.png"]
    )
    assert text == pasted(DOCUMENT, PAGE, "marks")

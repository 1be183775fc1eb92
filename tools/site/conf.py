"""The settings of Sphinx for the web pages. tools/pages.py prepares the sources and calls Sphinx with them.

The pages load nothing from other servers: the theme contains its scripts and icons, the search runs in the browser,
formulas are MathML, and no widget is loaded.
"""

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(os.environ["SERIES_ROOT"])
REPOSITORY = os.environ["SERIES_REPOSITORY"]
logger = logging.getLogger(__name__)

project = (ROOT / "README.md").read_text("utf-8").splitlines()[0].removeprefix("# ")
extensions = ["myst_nb", "sphinx.ext.githubpages"]
templates_path = ["templates"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # they do not affect the pages

nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
myst_all_links_external = True  # `resolve_links` resolves them
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath", "amsmath", "html_image"]

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["series.css"]
html_js_files = [("paper.js", {"type": "module"})]
html_sidebars = {"**": ["chapters.html"]}
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_use_index = False
html_theme_options = {
    "navbar_center": [],
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher", "navbar-icon-links"],
    "icon_links": [{"name": "Source code", "url": REPOSITORY, "icon": "fa-solid fa-code-branch"}] if REPOSITORY else [],
    "show_toc_level": 2,
    "search_bar_text": "Search",
    "primary_sidebar_end": [],
    "article_header_start": [],
    "footer_start": [],
    "footer_end": [],
}


def describe_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Set the alternative texts and widths of each cell's pictures, which tools/pages.py has put into its metadata."""
    for cell in doctree.findall(nodes.container):
        described = cell.get("cell_metadata", {}).get("pictures", [])
        for image, words in zip(cell.findall(nodes.image), described, strict=False):
            image["alt"] = words["alt"]
            if words["width"]:
                image["width"] = f"{words['width']}px"


def find_page(app: Sphinx, path: str) -> str | None:
    """Return the name of the page that shows this file or folder of the repository."""
    stem = posixpath.splitext(path)[0]
    names = {"README.md": "index", ".": "index", "notebooks": "index"}
    candidates = [names.get(path), stem if stem != path else None, f"{path}/index", f"{path}/README"]
    return next((name for name in candidates if name in app.env.found_docs), None)


def find_anchor(app: Sphinx, page: str, anchor: str) -> str | None:
    """Return the id of a heading, named as GitHub or Jupyter does, or of an HTML element. None if it is not found."""
    slugs = app.env.metadata[page].get("myst_slugs", {})  # GitHub's name -> line, id, text
    slug = re.sub(r"[^\w-]", "", anchor.lower())  # Jupyter's names keep capitals and punctuation
    if slug in slugs:
        return str(slugs[slug][1])
    raw = " ".join(node.astext() for node in app.env.get_doctree(page).findall(nodes.raw))
    return anchor if f'id="{anchor}"' in raw else None


def resolve_links(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Resolve each relative link to a page or to a file in the public repository. Warn if there is neither."""
    here = posixpath.dirname(page)
    for link in list(doctree.findall(nodes.reference)):
        url = urlsplit(link.get("refuri", ""))
        if link.get("internal") or url.scheme or url.netloc or not (url.path or url.fragment):
            continue
        path = posixpath.normpath(posixpath.join(here, unquote(url.path)))
        target = find_page(app, path) if url.path else page
        anchor = find_anchor(app, target, unquote(url.fragment)) if target and url.fragment else ""
        if anchor is None or (target is None and not (ROOT / path).exists()):
            logger.warning("the link to %s leads nowhere", link["refuri"], location=link, type="series")
        elif target:
            address = app.builder.get_relative_uri(page, target) if target != page else ""
            link["refuri"] = f"{address}#{anchor}" if anchor or not address else address
            link["internal"] = True
        elif REPOSITORY:
            link["refuri"] = f"{REPOSITORY}/blob/HEAD/{path}" + (f"#{url.fragment}" if url.fragment else "")
        else:
            link.replace_self(link.children)


def visit_math(translator, node) -> None:
    """Write a formula as MathML, which browsers render without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def remove_leftovers(app: Sphinx, error: Exception | None) -> None:
    """Remove a template that the theme copies together with its scripts. It is not a page."""
    Path(app.outdir, "_static", "webpack-macros.html").unlink(missing_ok=True)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("doctree-read", describe_pictures)
    app.connect("doctree-resolved", resolve_links)
    app.connect("build-finished", remove_leftovers)

"""The report that people look at: a static site in `results/site`, which opens from a folder without a network.

    model      everything the pages show, read once from records, tables, claims and studies
    charts     Vega-Lite specifications by Altair, each with its data as rows and its meaning in words
    pages      which pages there are, and what each template is given
    build      templates, assets and pages into files; what has not changed is not written again

Charts are drawn in the browser by Vega, which comes out of the package vl-convert-python and lies beside the pages.
"""

"""Rows on a Dask cluster; the only private package that imports Dask."""

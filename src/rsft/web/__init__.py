"""Looking at runs in a browser: reads the store, keeps named selections, labels and preferences, and talks to a run's
models when it is asked to. It starts no run.

    serve.py  ──►  gate.py  ──►  app.py  ──►  routes/
    listens        who may ask   the pages    a file for each view: reads its address, fills a template of pages.py

What all views share is the site's (site.py): runs by name (places.py), and what was read of them (shelf.py).

    the runs, and one    overview.py, chart.py
    candidates           sources.py (whose), books.py (as columns), browse.py (which of them)
    thresholds           thresholds.py, precision.py
    labels               label.py (one by one), label_pairs.py (side by side)
    comparing            picks.py (whom), beside.py (their replies), history.py (their runs)
    chat                 offer.py (before), chat.py (while it is loaded)
"""

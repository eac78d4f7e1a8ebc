"""The addresses, by the view that they belong to. Each reads its arguments, asks what does the work, and fills a
template in."""

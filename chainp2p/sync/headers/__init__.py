"""Which chain is worth its blocks: headers of peers, looked at before anything of them is kept."""

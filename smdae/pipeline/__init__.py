"""The pipeline: one picture from file to file, and many of them; what is kept of a fit or a comparison.

It knows no terminal: what there is to say it says to the `Messages` that it is given.

options, extras    what is asked for of each picture
selection, places  which pictures there are, and where their results go
one_picture        the work on a file: `worker` returns a function that does one job
one_raw, one_fits, one_volume, one_stream, several, stacked
                   the same for files that are no single picture
reading, found, outcome, placing
                   its stages: read, look for the noise, denoise, write
batch              many files, some at once
peers, sharing     many files, in several processes
summary, records   what is said of a result: in words, and as JSON
report             what is shown of results, as a page; report_view, report_page, report_style
seen               the description of pictures for `info`; seen_elsewhere, model_description, profile_description and
                   noise_chart that of other files, models and noise
card, fit_files    what is kept of a fit
compared           what is kept of a comparison
"""

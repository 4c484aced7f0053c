"""The pipeline: pictures from file to file, one or many; and the files of a fit or a comparison.

It knows no terminal: messages go to the `Messages` object in its `Options`. Everywhere `options` are these, `name` is
what messages call a file, `model_for` returns the model for a picture, and `watch` is called with the number of tiles,
steps or pages done and with their total.

options, extras        the settings for each picture, and the files to write beside its result
selection, places      which pictures there are, and where their results go
picture_names          what names of files say
replacing              what results replace, and the plan that --dry-run prints
one_picture            the work on one file: `worker` returns a function that does one job
one_raw, one_fits, one_volume, one_stream, several, stacked
                       the same for files that are not a single picture
reading, picture_noise, outcome, placing
                       its stages: read, find the noise, denoise, write
found_noise            the noise that was found in a picture
shared_noise           the noise that the pages of a file share
model_choice           which model denoises a picture
noise_choice           the meaning of --noise
batch                  many files, several at once
peers, sharing         many files, in several processes
messages               receivers of messages
summary, records       the report on a result: in words, and as JSON
measured               the distance of pictures from a clean one
report                 the report as a page, with report_views, report_page and report_style
described_files        the reading of files for `info`, which picture_description describes in words and as JSON;
                       model_description and profile_description are for models and noise, noise_chart draws
card, fit_files        the model file, log and state of a fit
compare                `smdae.compare`
compared               the folder of a comparison
"""

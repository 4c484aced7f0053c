# smdae as a container, on the CPU.
#
#     docker build -t smdae .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" smdae denoise noisy.png
#
# Plain pip takes the CUDA build of torch, which is gigabytes. With --build-arg TORCH_INDEX=ADDRESS, the address of the CPU
# builds that torch's own page of installation gives, the image has the CPU build alone: of two builds of one version pip
# prefers the one whose version ends in +cpu. What torch needs comes from the usual index, as other indexes lack versions.
FROM python:3.11-slim

ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

COPY constraints.txt /src/
RUN pip install --constraint /src/constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch

COPY pyproject.toml setup.py README.md LICENSE /src/
COPY smdae /src/smdae
RUN pip install --constraint /src/constraints.txt /src && rm -rf /src

# Matplotlib and torch want a place for what they keep, whoever runs this.
ENV HOME=/tmp MPLCONFIGDIR=/tmp
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["smdae"]
CMD ["--help"]

# SoftReg's environment, as softreg.def has it for Apptainer. In the project's root:
#   docker build --tag softreg .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" softreg snakemake --cores all
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/softreg
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY pyproject.toml README.md ./
COPY src src
COPY workflow workflow
RUN pip install --no-cache-dir --no-deps --editable .
# Programs keep settings there, whoever runs them.
ENV HOME=/tmp
WORKDIR /work

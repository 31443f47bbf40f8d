# Finds the defects in folders of images with runs of this project, in a container:
#   docker build -t steel-defects .
#   docker run --rm -v "$PWD/runs:/project/runs:ro" -v "$PWD/images:/images:ro" -v "$PWD/found:/found" steel-defects \
#     --run latest --images /images --out /found/monday
# For a machine that needs a run's networks alone there is a bundle, with a smaller Dockerfile: docs/bundle.md
FROM python:3.12-slim
WORKDIR /project
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir --requirement requirements.txt
COPY lib lib
ENV PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["python", "-m", "lib.predict"]

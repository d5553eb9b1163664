# The image for every platform, with provenance and a bill of materials. From the top of the repository:
#   VERSION=1.2.3 docker buildx bake --file deploy/docker-bake.hcl --print
# The release workflow sets every variable; PYTHON_IMAGE with the digest that the tag had at that moment.

variable "VERSION" {
  default = "0.0.0"
}

variable "REVISION" {
  default = ""
}

variable "CREATED" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

variable "REPOSITORY" {
  default = "ollama-push"
}

variable "PYTHON_IMAGE" {
  default = "docker.io/library/python:3.13.9-slim-bookworm"
}

group "default" {
  targets = ["image"]
}

target "image" {
  context    = "."
  dockerfile = "deploy/Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  args = {
    PYTHON_IMAGE = PYTHON_IMAGE
    VERSION      = VERSION
    REVISION     = REVISION
    CREATED      = CREATED
    SOURCE       = SOURCE
  }
  # A candidate for a release is not what "latest" means.
  tags = concat(
    ["${REPOSITORY}:${VERSION}"],
    can(regex("^[0-9]+[.][0-9]+[.][0-9]+$", VERSION)) ? ["${REPOSITORY}:latest"] : []
  )
  annotations = [
    "index:org.opencontainers.image.title=ollama-push",
    "index:org.opencontainers.image.description=Upload Ollama models with one truthful verdict: an SDK and a command",
    "index:org.opencontainers.image.licenses=MIT",
    "index:org.opencontainers.image.version=${VERSION}",
    "index:org.opencontainers.image.revision=${REVISION}",
    "index:org.opencontainers.image.source=${SOURCE}",
  ]
  attest = ["type=provenance,mode=max", "type=sbom"]
}

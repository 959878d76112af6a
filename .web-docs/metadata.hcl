# https://github.com/hashicorp/integration-template#metadata-configuration
integration {
  name        = "Strongroom"
  description = "Hardened golden images and machines for HashiCorp Vault and OpenBao, that prove on every boot that they still are what was made."
  identifier  = "packer/strongroom/strongroom"
  docs {
    process_docs    = true
    readme_location = "./README.md"
    external_url    = "https://github.com/strongroom/strongroom"
  }
  component {
    type = "data-source"
    name = "Strongroom release"
    slug = "release"
  }
  component {
    type = "builder"
    name = "Strongroom image"
    slug = "image"
  }
  component {
    type = "provisioner"
    name = "Strongroom harden"
    slug = "harden"
  }
  component {
    type = "post-processor"
    name = "Strongroom launch template"
    slug = "launch-template"
  }
  component {
    type = "post-processor"
    name = "Strongroom metal"
    slug = "metal"
  }
}

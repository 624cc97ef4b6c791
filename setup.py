"""Metadata of the distribution; the build system and the tools' settings are in pyproject.toml.

Only ``dactyl_tl``, ``callbacks`` and ``hardware`` are installed at the top level. The Hydra groups of
``conf/`` become ``dactyl_tl.conf``, and the entry scripts stay in the checkout, because other
distributions install top-level modules named ``conf`` and ``evaluate``.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGES = ("dactyl_tl", "callbacks", "hardware")

REQUIREMENTS = [
    "torch>=2.11,<2.14",
    "torchrl>=0.14.1,<0.15",
    "tensordict>=0.14.3,<0.15",
    "pytorch-lightning>=2.6,<3",
    "mujoco>=4.0,<5",
    "fast-simplification>=0.1.9,<1",
    "gymnasium>=1.3,<2",
    "gymnasium-robotics>=1.4.2,<2",
    "hydra-core>=1.3.2,<2",
    "wandb>=0.20,<1",
    "kornia>=0.8,<1",
    "numpy>=2.0,<3",
    "scipy>=1.14,<2",
    "mcap>=1.2,<2",
    "jinja2>=3.1,<4",
    "pyzmq>=26,<28",
    "safetensors>=0.5,<1",
    "matplotlib>=3.9,<4",
    "rich>=13,<16",
    "scikit-learn>=1.5,<2",
    "imageio[ffmpeg]>=2.34,<3",
]

GPU = ["mujoco-warp>=4.0,<5", "warp-lang>=1.15,<2"]

CLUSTER = ["ray>=2.52,<3"]  # the first with token authentication

HAND = ["roslibpy>=2.1,<3", "natnet>=0.3,<1", "qtm-rt>=3.1,<4", "mujoco[sysid]>=4.0,<5", "PyYAML>=6"]

CAMERAS = ["pypylon>=26,<27"]  # large, and under a licence of its own

DEVELOPMENT = [
    *GPU,  # its CPU device runs in the tests
    *CLUSTER,
    *HAND,
    *CAMERAS,  # its emulated cameras run in the tests
    "build>=1.2",
    "hypothesis>=6.100",
    "mypy==2.4.1",
    "pytest>=8.3",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff==0.17.5",
    "setuptools>=77",
    "vermin>=1.6",
]

setup(
    name="dactyl_tl",
    version="0.1.0",
    description="In-hand reorientation with a Shadow Hand: PyTorch Lightning, TorchRL and MuJoCo",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="dactyl_tl contributors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    install_requires=REQUIREMENTS,
    extras_require={"gpu": GPU, "cluster": CLUSTER, "hand": HAND, "cameras": CAMERAS, "dev": DEVELOPMENT},
    packages=[
        *find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
        "dactyl_tl.conf",
    ],
    package_dir={"dactyl_tl.conf": "conf"},
    package_data={
        "dactyl_tl": ["py.typed"],
        "dactyl_tl.conf": ["*.yaml", "**/*.yaml"],
        "dactyl_tl.policies": ["*/bundle.json", "*/*.safetensors", "*/curve.csv"],
        "dactyl_tl.estimators": ["*/bundle.json", "*/*.safetensors", "*/curve.csv"],
        "hardware": ["*.html", "records/*.html"],
    },
    include_package_data=False,
    zip_safe=False,
)

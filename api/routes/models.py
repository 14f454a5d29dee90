"""The models that are served."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from api.dependencies import Desk
from api.openapi import problems
from api.schemas import ModelListView, ModelView
from shared.catalog import ModelCatalog
from shared.errors import ModelNotFound

router = APIRouter(tags=["models"])


@router.get("/models", response_model=ModelListView)
async def list_models(desk: Desk) -> ModelListView:
    """List the models, each with its inputs, its labels and what it is meant for."""
    return await run_in_threadpool(_all, desk.catalog)


@router.get("/models/{name}", response_model=ModelView, responses=problems(ModelNotFound))
async def show_model(desk: Desk, name: str) -> ModelView:
    """Show one model, by `name` (its newest version) or `name@version`."""
    return await run_in_threadpool(_one, desk.catalog, name)


def _all(catalog: ModelCatalog) -> ModelListView:
    default = _default_ref(catalog)
    return ModelListView(
        models=[ModelView.of(card, default=card.ref == default) for card in catalog.list()]
    )


def _one(catalog: ModelCatalog, name: str) -> ModelView:
    card = catalog.resolve(name)
    return ModelView.of(card, default=card.ref == _default_ref(catalog))


def _default_ref(catalog: ModelCatalog) -> str | None:
    try:
        return catalog.resolve().ref
    except ModelNotFound:
        return None

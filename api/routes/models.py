"""The models: which are served, and why others are not."""

from fastapi import APIRouter

from api.http.openapi import problem_responses
from api.schemas import ModelListView, ModelView
from api.services import ServicesDep
from shared.errors import ModelBroken, ModelNotFound

router = APIRouter(tags=["models"])


@router.get("/models", response_model=ModelListView)
async def list_models(services: ServicesDep) -> ModelListView:
    """List the models, each with its inputs, its labels and its intended use.

    Bundles that are not served are listed apart, each with the reason.
    """
    return ModelListView.of(await services.model_registry.available())


@router.get(
    "/models/{name}",
    response_model=ModelView,
    responses=problem_responses(ModelNotFound, ModelBroken),
)
async def show_model(services: ServicesDep, name: str) -> ModelView:
    """Show one model, by `name` (its newest version that runs) or `name@version`."""
    available = await services.model_registry.available()
    card = available.resolve(name)
    return ModelView.of(card, default=card.ref == available.default_ref)
